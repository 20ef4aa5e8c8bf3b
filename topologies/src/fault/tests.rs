use super::*;

fn machine(name: &str) -> Machine {
    Machine::preset(name).unwrap()
}

fn faults(text: &str) -> Faults {
    text.parse().unwrap()
}

#[test]
fn what_is_written_is_read_and_written_again() {
    for text in [
        "gpu3=80%",
        "gpu0=lost",
        "gpu3-link=50%",
        "link:gpu2-socket0=62.5%",
        "throttle=85%",
        "link:node0.nic3-ib=lost",
        "node1=80%",
        "node0=lost",
        "node1-link=25%",
        "gpu3=80%,throttle=85%,link:socket0-socket1=25%",
    ] {
        assert_eq!(faults(text).to_string(), text);
    }
    assert_eq!(faults("gpu1=80% , gpu2=lost").all().len(), 2);
}

#[test]
fn mistakes_are_named() {
    let machine = machine("8xl20-pcie");
    for (text, part) in [
        ("", "write gpu3=80%"),
        ("gpu3", "write gpu3=80%"),
        ("gpu+3=80%", "write gpu3=80%"),
        ("cpu0=80%", "write gpu3=80%"),
        ("throttle=lost", "write gpu3=80%"),
        ("gpu3=80", "80 is not a percentage"),
        ("gpu3=0%", "0% is not a percentage from 1"),
        ("gpu3=0.5%", "0.5% is not a percentage from 1"),
        ("gpu3=80%,gpu3=90%", "gpu3=90% concerns what another"),
        ("gpu3=80%,gpu3=lost", "gpu3=lost concerns what another"),
        ("gpu3=120%", "120% is not a percentage from 1"),
        ("gpu3=NaN%", "NaN% is not a percentage from 1"),
        ("gpu8=80%", "8xl20-pcie has the GPUs gpu0 to gpu7"),
        ("gpu8-link=80%", "8xl20-pcie has the GPUs gpu0 to gpu7"),
        ("link:gpu2-sokcet0=50%", "did you mean gpu2-socket0?"),
        ("gpu0=lost,gpu1=80%,gpu99=lost", "gpu0 to gpu7"),
        ("node1=80%", "8xl20-pcie has the nodes node0 to node0"),
        ("node1=lost,node1=80%", "node1=80% concerns what another"),
        ("node=lost", "write gpu3=80%"),
        ("node0=lost", "no GPU of 8xl20-pcie is left"),
        ("link:gpu2-socket0=lost", "not as a case of --robust"),
    ] {
        let found = text.parse().and_then(|faults: Faults| faults.on(&machine));
        let message = found.unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
    let all: Faults = (0..8).map(|gpu| Fault::Lost(DeviceId::new(gpu))).collect();
    let message = all.on(&machine).unwrap_err().to_string();
    assert!(
        message.contains("no GPU of 8xl20-pcie is left"),
        "{message}"
    );
}

#[test]
fn a_fault_of_100_percent_is_none() {
    let machine = machine("8xh100-sxm");
    let text = "gpu3=100%,gpu1-link=100%,throttle=100%,link:gpu0-nvswitch=100%";
    assert_eq!(faults(text).on(&machine).unwrap(), Condition::HEALTHY);
    assert!(faults(text).checked(&machine).unwrap().is_empty());
}

#[test]
fn a_link_is_narrower_both_ways_and_by_either_name() {
    let machine = machine("8xl20-pcie");
    let one = faults("link:gpu2-socket0=50%").on(&machine).unwrap();
    assert_eq!(one.widths.iter().filter(|width| **width == 0.5).count(), 2);
    assert_eq!(faults("link:socket0-gpu2=50%").on(&machine).unwrap(), one);
    // Its only link is on PCIe.
    assert_eq!(faults("gpu2-link=50%").on(&machine).unwrap(), one);
    assert_eq!(one.health(&machine, DeviceId::new(2)), 0.5);
    assert_eq!(one.health(&machine, DeviceId::new(1)), 1.0);
}

#[test]
fn faults_of_one_thing_multiply_and_clocks_leave_memory_alone() {
    let machine = machine("4xl20-pcie");
    let found = faults("gpu3=80%,throttle=50%").on(&machine).unwrap();
    let speed_factor = |compute, memory| SpeedFactor { compute, memory };
    assert_eq!(found.speed_factor(DeviceId::new(3)), speed_factor(0.4, 0.8));
    assert_eq!(found.speed_factor(DeviceId::new(0)), speed_factor(0.5, 1.0));
}

#[test]
fn a_node_is_its_gpus_and_its_cards() {
    let machine = machine("2x8xh100-sxm");
    let slow = faults("node1=50%").on(&machine).unwrap();
    for gpu in machine.devices() {
        let expected = if gpu.index() < 8 { 1.0 } else { 0.5 };
        assert_eq!(slow.speed_factor(gpu).compute, expected);
    }
    let lost = faults("node0=lost").on(&machine).unwrap();
    assert_eq!(lost.left(&machine), machine.nodes()[1]);
    let narrow = faults("node1-link=25%").on(&machine).unwrap();
    let links = (0..machine.links.len()).map(LinkId::new);
    let found: Vec<String> = links
        .filter(|link| narrow.width(*link) < 1.0)
        .map(|link| link_name(&machine, link))
        .collect();
    assert_eq!(found.len(), 16);
    for (rail, name) in found.iter().step_by(2).enumerate() {
        assert_eq!(*name, format!("node1.nic{rail}-infiniband.rail{rail}"));
    }
}

/// Whose card is gone sends through another of its node; where no other way is left, that is said.
#[test]
fn a_lost_link_is_another_wiring() {
    let whole = machine("2x8xh100-sxm");
    let lost = faults("link:infiniband.rail3-node0.nic3=lost");
    let wired = lost.rewired(whole.clone()).unwrap();
    assert_eq!(wired.links.len(), whole.links.len() - 2);
    let names = |machine: &Machine, a: usize, b: usize| -> Vec<String> {
        let route = machine.route(DeviceId::new(a), DeviceId::new(b));
        route
            .links
            .iter()
            .map(|link| link_name(machine, *link))
            .collect()
    };
    assert!(names(&whole, 3, 11).contains(&"node0.nic3-infiniband.rail3".to_owned()));
    let way = names(&wired, 3, 11);
    assert!(
        way.iter().all(|link| !link.contains("node0.nic3")),
        "{way:?}"
    );
    for (a, b) in [(2, 10), (0, 7), (11, 15)] {
        assert_eq!(names(&wired, a, b), names(&whole, a, b));
    }
    assert_eq!(lost.clone().checked(&wired).unwrap(), lost);
    assert_eq!(lost.on(&wired).unwrap(), Condition::HEALTHY);
    let message = faults("link:gpu2-socket0=lost")
        .rewired(machine("8xl20-pcie"))
        .unwrap_err();
    assert!(message.to_string().contains("cannot reach"), "{message}");
    let message = faults("link:gpu2-socket9=lost")
        .rewired(machine("8xl20-pcie"))
        .unwrap_err();
    assert!(
        message.to_string().contains("did you mean gpu2-socket"),
        "{message}"
    );
}
