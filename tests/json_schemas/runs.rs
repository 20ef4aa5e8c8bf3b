//! What is run to see JSON: every command that has some, in variants.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::{json, profile};

/// A small model on the machine where compression pays.
const DIGITS: &str = "--model dit-digits --batch 64 --machine 4x-emulated-ethernet";
/// A queue that takes a second.
const CAPACITY: &str = "capacity --json --slo p95<=6s --rate 2/s --replications 2 --requests 200";

/// Commands and variants: a schema, then what is typed; words in capitals are paths, DIGITS and CAPACITY options.
/// Variants are chosen so that optional parts occur, and are missing: budgets, compressors, profiles, other networks,
/// plans that are not legal, points without a plan, lists without elements, rows that cannot be predicted.
pub(super) const RUNS: &[(&str, &str)] = &[
    ("plan", "plan --json --top 3"),
    ("plan", "plan --json --gpus 1 --max-fid 5 --compile"),
    (
        "plan",
        "plan --json --exact --machine 8xh100-sxm --engine diffusers --top 1",
    ),
    ("plan", "plan --json --strategy ring4 --budget fid<=7"),
    (
        "plan",
        "plan --json --network 0.5GB/s --strategy ring4 --budget psnr>=50 --per phase DIGITS",
    ),
    (
        "plan",
        "plan --json --exact --machine 1xH200@nvlink4 --profile MADE_UP",
    ),
    (
        "plan-robust",
        "plan --robust --json --steps 4 --faults gpu1=80% --faults gpu3=lost",
    ),
    (
        "plan-robust",
        "plan --robust --json --steps 4 --top 1 --faults gpu0-link=50% --fault gpu1=90%",
    ),
    ("simulate", "simulate --json --plan ring4/1bit"),
    (
        "simulate",
        "simulate --json --plan ring4 --fault throttle=85%",
    ),
    (
        "simulate",
        "simulate --json --plan cfg2+attention2d1x2 --model SD3-medium --engine cache-dit",
    ),
    (
        "simulate",
        "simulate --json --plan none --guidance none --engine sglang",
    ),
    (
        "sweep",
        "sweep --json --exact --vary gpus=1,2 --vary size=512x512,100x100 --vary pcie.bandwidth=8GB/s,32GB/s",
    ),
    ("sweep", "sweep --json --vary psnr=40,300 --gpus 2 DIGITS"),
    (
        "sweep",
        "sweep --json --plan ring2 --plan ulysses2 --vary gpu.compute=1,2 --vary link.latency=1us,1ms DIGITS",
    ),
    ("sweep-tornado", "sweep --json --tornado 0.2 --exact DIGITS"),
    ("compare", "compare --json ring2/1bit ulysses2 DIGITS"),
    (
        "compare",
        "compare --json --exact 4xl20-pcie 8xh100-sxm --model dit-digits",
    ),
    ("calibrate", "calibrate --json --summary TOY"),
    ("calibrate", "calibrate --json --summary MADE_UP"),
    ("validate", "validate --json --timeline LIVE --profile TOY"),
    (
        "validate",
        "validate --json --gemm MADE_UP/gemm.csv --attention MADE_UP/attention.csv",
    ),
    (
        "validate",
        "validate --json --gemm TOY/gemm.csv --nccl FILES/nccl.csv",
    ),
    (
        "validate",
        "validate --json --operations FILES/operations.csv",
    ),
    (
        "validate",
        "validate --json --published FILES/published.csv --published FILES/more.csv",
    ),
    (
        "replay",
        "replay --json TRACE --compressors 1bit,int4 --warmup 20",
    ),
    ("capacity", "CAPACITY --exact --machine 8xh100-sxm"),
    (
        "capacity",
        "CAPACITY --exact --machine 8xh100-sxm --mix 1024x1024:0.7,512x512:0.3 --batch 2 --spares 1 --failures mtbf=10h,mttr=5min --objective dollars --arrivals gamma:cv=2 --routing shortest",
    ),
    (
        "capacity",
        "CAPACITY --exact --machine 4xl20-pcie --model dit-digits --arrivals diurnal:peak=3,period=1min",
    ),
    (
        "capacity",
        "capacity --json --slo p95<=60s --replications 2 --exact --machine 4xl20-pcie --arrivals FILES/arrivals.csv",
    ),
    ("trace-info", "trace info --json TRACE"),
    ("trace-check", "trace check --json TRACE"),
    ("trace-stats", "trace stats --json TRACE"),
    (
        "trace-stats",
        "trace stats --json --by-layer --against-flux TRACE",
    ),
    ("trace-quality", "trace quality --json TRACE"),
    (
        "trace-kineto",
        "trace kineto --json KINETO/synthetic-ulysses4.json --plan ulysses4 --steps 4 --timeline FILES/timeline.json",
    ),
    (
        "trace-kineto",
        "trace kineto --json KINETO/hta-backward.json",
    ),
    ("models", "models --json"),
    ("machines", "machines --json"),
    ("gpus", "gpus --json"),
    (
        "assignment",
        "plan --emit assignment --strategy ring4 --budget psnr>=50 --per phase DIGITS",
    ),
    (
        "assignment",
        "plan --emit assignment --strategy ulysses2 DIGITS",
    ),
    (
        "report",
        "report --data simulate --plan ring2 --steps 2 DIGITS",
    ),
    ("report", "report --data gpus"),
];

/// Files that are read: published runs of each kind of row, collectives, requests.
const FILES: &[(&str, &str)] = &[
    (
        "published.csv",
        "source,table,model,resolution,frames,gpu,n_gpus,interconnect,strategy,steps,warmup,batch,compile,metric,value,unit,notes,quality\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,1,PCIe4,none,28,,1,no,latency,23.2,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,ulysses4,28,,1,no,latency,8.28,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,ring4,28,,1,no,latency,9.5,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,ulysses2+ring2,28,,1,no,latency,8.9,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,2,PCIe4,ulysses2,28,,1,no,latency,14.1,s,,digitised\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,2,PCIe4,magic2,28,,1,no,latency,14.1,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,2,PCIe4,ring2,28,,1,no,latency,1.0,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,8192x8192,1,L20,4,PCIe4,ring4,28,,1,no,latency,OOM,s,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,ring4,28,,1,no,peak_mem,31,GB,,printed\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,ring4,28,,1,no,FID,7,,,printed\n",
    ),
    (
        "more.csv",
        "source,table,model,resolution,frames,gpu,n_gpus,interconnect,strategy,steps,warmup,batch,compile,metric,value,unit,notes,quality\n\
         xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,magic,28,,1,no,latency,8.28,s,,\n",
    ),
    (
        "operations.csv",
        "run,gpu,op,input_dims,input_types,count,median_us,sum_us\n\
         a,MI300X,aten::mm,\"((768, 3072), (3072, 3072))\",\"('c10::BFloat16', 'c10::BFloat16')\",10,38.2,382\n\
         a,MI300X,aten::bmm,\"((8, 64, 64), (8, 64, 64))\",\"('c10::BFloat16', 'c10::BFloat16')\",1,9,9\n",
    ),
    (
        "nccl.csv",
        "system,nccl,op,dtype,num_gpus,size_bytes,latency_us\n\
         h100_sxm,2.23,all_gather,half,8,1048576,50.0\n\
         h100_sxm,2.23,dance,half,8,1048576,50.0\n",
    ),
    (
        "arrivals.csv",
        "time,size\n0,1024x1024\n1,1024x1024\n3,512x512\n",
    ),
];

fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// What the words of [`RUNS`] stand for.
pub(super) struct Bench {
    files: TempDir,
    made_up: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        let files = tempfile::tempdir().expect("a folder");
        for (name, text) in FILES {
            fs::write(files.path().join(name), text).expect("a file can be written");
        }
        Self {
            files,
            made_up: profile::made_up(),
        }
    }

    /// A line with its words in capitals replaced.
    pub(super) fn words(&self, line: &str) -> Vec<String> {
        let folder = |folder: &TempDir| folder.path().display().to_string();
        let line = line.replace("DIGITS", DIGITS).replace("CAPACITY", CAPACITY);
        let paths = [
            ("TRACE", repository("traces/data/dit-digits/28steps")),
            ("KINETO", repository("traces/data/kineto")),
            ("LIVE", repository("tests/data/live-cpu-toy")),
            ("TOY", repository("tests/data/profile-cpu-toy")),
            ("MADE_UP", folder(&self.made_up)),
            ("FILES", folder(&self.files)),
        ];
        let path = |word: &str| {
            paths.iter().fold(word.to_owned(), |word, (name, path)| {
                word.replace(name, path)
            })
        };
        line.split(' ').map(path).collect()
    }

    /// The JSON that a line of [`RUNS`] prints.
    pub(super) fn output(&self, line: &str) -> Value {
        let words = self.words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        json(&words)
    }
}
