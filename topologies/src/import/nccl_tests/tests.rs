use super::*;
use crate::import::damage::variants;

const H200: &str = include_str!("../../../data/samples/nccl-tests-16xh200.txt");
const V100: &str = include_str!("../../../data/samples/nccl-tests-4xv100.txt");
const JSON: &str = include_str!("../../../data/samples/nccl-tests.json");

#[test]
fn a_log_gives_rows_and_the_rate_that_it_prints() {
    let log = nccl_tests(H200, "log.txt").unwrap();
    assert_eq!(log.rows.len(), 3);
    assert_eq!(log.gpu.as_deref(), Some("NVIDIA H200"));
    let row = &log.rows[0];
    assert_eq!((row.kind, row.ranks), (CollectiveKind::AllReduce, 16));
    assert_eq!(row.time, SimDuration::from_us_f64(4389.5));
    // The log prints 458.65 GB/s.
    assert!((row.bus_bandwidth().as_f64() / 1e9 - 458.65).abs() < 0.02);
    let (rates, said) = log.rates("mine");
    assert_eq!((rates.len(), rates[0].ranks), (1, 16));
    assert!(said[0].contains("no size between 2 and 512 MB"), "{said:?}");
    assert!(
        log.csv("h200_sxm", "2.22.3")
            .contains("h200_sxm,2.22.3,all_reduce,half,16,1073741824,4389.5\n")
    );
}

#[test]
fn the_old_table_reads_by_its_header() {
    let log = nccl_tests(V100, "log.txt").unwrap();
    assert_eq!((log.rows.len(), log.rows[0].ranks), (4, 4));
    assert_eq!(log.rows[0].time, SimDuration::from_us_f64(158.3));
    assert_eq!(log.gpu.as_deref(), Some("Tesla V100-SXM3-32GB"));
}

#[test]
fn json_reads_like_text() {
    let log = nccl_tests(JSON, "out.json").unwrap();
    assert_eq!(log.rows.len(), 2);
    let (rates, said) = log.rates("mine");
    assert_eq!(
        (rates[0].kind, rates[0].ranks),
        (CollectiveKind::AllToAll, 4)
    );
    // 64 MiB in 3595 us, of which three quarters cross the bus.
    assert!((rates[0].bus_bandwidth.as_f64() / 1e9 - 14.0).abs() < 0.01);
    assert!(
        said.iter().any(|line| line.contains("left out")),
        "{said:?}"
    );
    assert!(
        log.toml("mine")
            .contains("kind = \"all-to-all\"\nranks = 4\n")
    );
}

#[test]
fn faults_name_line_and_remedy() {
    let refused = |text: &str| nccl_tests(text, "my.log").unwrap_err().to_string();
    assert!(refused("").contains("no row of a test"));
    assert!(refused(&H200.replace("all_reduce_perf", "a.out")).contains("which test"));
    assert!(refused(&H200.replace("#  Rank", "#")).contains("0 ranks took part"));
    assert!(refused(&H200.replace("4389.5", "0.0")).contains("line 25: a time of 0 us"));
    assert!(
        refused(&H200.replace("458.65      0", "458.65      7")).contains("7 results were wrong")
    );
    let huge = H200.replace(" 1073741824 ", " 9663676416179869184 ");
    assert!(refused(&huge).contains("which no link carries"));
    assert!(refused(&JSON[..300]).contains("the JSON is broken"));
    assert!(nccl_tests(&H200.replace("all_reduce_perf", "x"), "all_gather_perf.log").is_ok());
}

#[test]
fn damaged_logs_never_panic() {
    for sample in [H200, V100, JSON] {
        for variant in variants(sample) {
            let text = String::from_utf8_lossy(&variant);
            match nccl_tests(&text, "my.log") {
                Ok(log) => assert!(!log.rates("s").0.is_empty() && !log.toml("s").is_empty()),
                Err(error) => assert!(error.to_string().starts_with("my.log, line ")),
            }
        }
    }
}
