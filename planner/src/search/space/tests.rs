//! Every split is in the space once.

use super::*;

#[test]
fn every_product_of_degrees_is_laid_out_once() {
    for gpus in [1, 2, 6, 8, 12] {
        let all = layouts(gpus);
        let distinct: BTreeSet<&Plan> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{gpus} GPUs");
        assert!(all.iter().all(|plan| plan.ranks() <= gpus));
        let in_order = |plan: &Plan| {
            (0..plan.ranks() as usize)
                .map(DeviceId::new)
                .collect::<Vec<_>>()
        };
        assert!(all.iter().all(|plan| plan.placement == in_order(plan)));
        let degrees = |plan: &Plan| {
            let exchange = plan.exchange.degree();
            [
                plan.data,
                plan.cfg,
                plan.tensor,
                plan.pipeline.stages,
                plan.ulysses,
                exchange,
            ]
        };
        let found: BTreeSet<[u32; 6]> = all.iter().map(degrees).collect();
        let mut expected = 0;
        for (data, cfg) in (1..=gpus).flat_map(|data| (1..=2).map(move |cfg| (data, cfg))) {
            for (tensor, stages) in (1..=gpus).flat_map(|t| (1..=gpus).map(move |s| (t, s))) {
                for (ulysses, outer) in (1..=gpus).flat_map(|u| (1..=gpus).map(move |o| (u, o))) {
                    let degrees = [data, cfg, tensor, stages, ulysses, outer];
                    if degrees.iter().product::<u32>() <= gpus {
                        expected += 1;
                        assert!(found.contains(&degrees), "{degrees:?} of {gpus}");
                    }
                }
            }
        }
        assert_eq!(found.len(), expected, "{gpus} GPUs");
        // A stage has one, two or four patches.
        for plan in &all {
            let Pipeline { stages, patches } = plan.pipeline;
            let times: &[u32] = if stages == 1 { &[1] } else { &[1, 2, 4] };
            assert!(
                times.iter().any(|times| patches == stages * times),
                "{plan}"
            );
        }
    }
}

#[test]
fn an_exchange_is_one_of_each_kind_or_a_grid() {
    let of = |degree| exchanges(degree);
    assert_eq!(of(1), [Exchange::NONE]);
    let alone = |n| {
        [
            Exchange::Ring(n),
            Exchange::Gather(n),
            Exchange::Displaced(n),
        ]
    };
    assert_eq!(of(3), alone(3));
    let grid = |rows, columns| Exchange::Attention2d { rows, columns };
    assert_eq!(of(4), [&alone(4)[..], &[grid(2, 2)]].concat());
    assert_eq!(of(8), [&alone(8)[..], &[grid(2, 4), grid(4, 2)]].concat());
}
