use super::*;

fn join() -> Task {
    Task {
        device: DeviceId::new(0),
        stream: Stream::Compute,
        class: SpanClass::Other,
        step: 0,
        layer: 0,
        work: Work::Join,
    }
}

#[test]
fn successors_are_predecessors_turned_around() {
    let mut graph = TaskGraph::new();
    let a = graph.push(join(), &[]);
    let b = graph.push(join(), &[a]);
    let c = graph.push(join(), &[a, b]);
    let successors = graph.successors();
    assert_eq!(successors.of(a), [b, c]);
    assert_eq!(successors.of(b), [c]);
    assert_eq!(successors.of(c), []);
    assert_eq!(graph.predecessors(c), [a, b]);
}

#[test]
fn equal_paths_are_stored_once_whatever_the_order_of_links() {
    let mut graph = TaskGraph::new();
    let links = [LinkId::new(4), LinkId::new(1)];
    let first = graph.intern(Path::single(SimDuration::ZERO, &links));
    let second = graph.intern(Path::single(SimDuration::ZERO, &[links[1], links[0]]));
    assert_eq!(first, second);
    let twice = graph.intern(Path::single(SimDuration::ZERO, &[links[0], links[0]]));
    assert_eq!(graph.path(twice).shares, [(links[0], 2.0)]);
}

#[test]
#[should_panic(expected = "comes after tasks that exist already")]
fn a_task_cannot_wait_for_a_later_one() {
    TaskGraph::new().push(join(), &[TaskId::new(0)]);
}

#[test]
fn a_builder_keeps_streams_in_order() {
    let mut builder = GraphBuilder::new();
    let a = builder.push(join(), &[]);
    let aside = builder.push_unordered(join(), &[]);
    let other = Task {
        stream: Stream::Host,
        ..join()
    };
    let b = builder.push(other, &[]);
    let c = builder.push(join(), &[b]);
    let graph = builder.finish();
    assert_eq!(graph.predecessors(b), []);
    assert_eq!(graph.predecessors(c), [b, a]);
    assert_eq!(graph.predecessors(aside), []);
}

#[test]
fn a_task_stays_small() {
    assert!(size_of::<Task>() <= 48, "{}", size_of::<Task>());
}
