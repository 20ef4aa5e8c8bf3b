//! What names of kernels, types and collectives mean.

use topologies::CollectiveKind;

use super::SpanClass;

/// Words in kernel names by class, first match wins; the rules of `ditplan_capture.kernel_class`.
const RULES: &[(SpanClass, &[&str])] = &[
    (
        SpanClass::Communication,
        &[
            "nccl",
            "allreduce",
            "all_reduce",
            "allgather",
            "all_gather",
            "alltoall",
            "all_to_all",
            "reducescatter",
            "reduce_scatter",
            "sendrecv",
            "send_recv",
        ],
    ),
    (
        SpanClass::Attention,
        &["flash", "fmha", "attention", "sdpa", "mha_"],
    ),
    (
        SpanClass::Linear,
        &[
            "gemm", "gemv", "matmul", "cutlass", "cublas", "xmma", "nvjet", "wgmma", "splitk",
            "conv",
        ],
    ),
    (SpanClass::Decode, &["dequant", "decompress", "decode"]),
    (SpanClass::Encode, &["quant", "compress", "encode"]),
    (
        SpanClass::Elementwise,
        &[
            "elementwise",
            "vectorized",
            "norm",
            "reduce",
            "softmax",
            "gelu",
            "silu",
            "sigmoid",
            "rope",
            "rotary",
            "triton_poi",
            "triton_red",
            "triton_per",
            "memcpy",
            "memset",
            "copy",
            "cat",
            "index",
            "fill",
        ],
    ),
];

/// What kind of work a kernel is, by its name.
#[must_use]
pub fn classify(kernel: &str) -> SpanClass {
    let name = kernel.to_lowercase();
    let fits = |(_, words): &&(SpanClass, &[&str])| words.iter().any(|word| name.contains(word));
    RULES
        .iter()
        .find(fits)
        .map_or(SpanClass::Other, |(class, _)| *class)
}

/// Bytes of an element by NCCL's and PyTorch's names of its type.
pub(super) fn element_bytes(dtype: &str) -> Option<u64> {
    Some(match dtype.to_lowercase().as_str() {
        "half" | "float16" | "bfloat16" | "short" | "int16" => 2,
        "float" | "float32" | "int" | "int32" => 4,
        "double" | "float64" | "long" | "int64" => 8,
        "byte" | "char" | "int8" | "uint8" | "bool" | "float8_e4m3fn" | "float8_e5m2" => 1,
        _ => return None,
    })
}

/// The collective of a name of PyTorch's, or of a kernel of NCCL's.
pub(super) fn kind(name: &str) -> Option<CollectiveKind> {
    let name: String = name
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let kinds = [
        ("reducescatter", CollectiveKind::ReduceScatter),
        ("allreduce", CollectiveKind::AllReduce),
        ("allgather", CollectiveKind::AllGather),
        ("alltoall", CollectiveKind::AllToAll),
        ("send", CollectiveKind::RingPass),
        ("recv", CollectiveKind::RingPass),
    ];
    kinds
        .iter()
        .find(|(word, _)| name.contains(word))
        .map(|(_, kind)| *kind)
}
