//! Which node is next: the stack of a run, and the nodes that wait for their other inputs.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::flow::memory::Source;
use crate::flow::{Branches, Edge, Graph, Item, NodeIndex, Order};

/// What came to one input.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) outputs: Arc<Branches>,
    pub(super) source: Source,
}

impl Arrival {
    pub(super) fn items(&self) -> &[Item] {
        &self.outputs[self.source.output]
    }
}

/// A node that is to be visited, with what came to each input.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) node: NodeIndex,
    pub(super) arrivals: Vec<Option<Arrival>>,
}

/// The nodes of a run that are to be visited.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    order: Order,
    stack: VecDeque<Frame>,
    /// Nodes with several inputs, in the order in which the first of them was reached; each with
    /// its visits to come, the oldest first.
    waiting: Vec<(NodeIndex, VecDeque<Vec<Option<Arrival>>>)>,
    /// Nodes that were made to run for those that wait: each once, whatever it gave.
    forced: Vec<NodeIndex>,
}

impl Frames {
    pub(super) const fn new(order: Order) -> Self {
        Self { order, stack: VecDeque::new(), waiting: Vec::new(), forced: Vec::new() }
    }

    /// Visits to come.
    pub(super) fn len(&self) -> usize {
        self.stack.len() + self.waiting.iter().map(|(_, visits)| visits.len()).sum::<usize>()
    }

    /// A node gave this: those that it leads to are to be visited.
    pub(super) fn push(
        &mut self,
        graph: &Graph,
        outputs: &Arc<Branches>,
        source: impl Fn(usize) -> Source,
    ) {
        let node = graph.node(source(0).node);
        let mut next: Vec<(usize, Edge)> = Vec::new();
        for (output, items) in outputs.iter().enumerate() {
            for edge in node.edges.get(output).into_iter().flatten() {
                // The old order tells an input beyond the first that nothing will come.
                if !items.is_empty() || (self.order == Order::V0 && edge.input > 0) {
                    next.push((output, *edge));
                }
            }
        }
        if self.order == Order::V1 {
            let place = |(_, edge): &(usize, Edge)| graph.node(edge.to).position;
            next.sort_by(|one, other| {
                let ((one_x, one_y), (other_x, other_y)) = (place(one), place(other));
                other_y.total_cmp(&one_y).then(other_x.total_cmp(&one_x))
            });
        }
        for (output, edge) in next {
            let arrival = Arrival { outputs: outputs.clone(), source: source(output) };
            self.arrive(graph, edge, arrival);
        }
    }

    /// In the old order, a node that waits for an input makes the nodes run that could give it:
    /// those that nothing has reached get one empty item.
    pub(super) fn force_parents(&mut self, graph: &Graph, has_run: impl Fn(NodeIndex) -> bool) {
        if self.order != Order::V0 || !self.stack.is_empty() {
            return;
        }
        let parents = |node: NodeIndex| {
            graph.nodes().filter_map(move |(parent, from)| {
                let edge = from.edges.iter().flatten().find(|edge| edge.to == node)?;
                Some((parent, edge.input))
            })
        };
        let mut forced = None;
        for (node, visits) in &self.waiting {
            let Some(visit) = visits.front() else { continue };
            let is_missing = |(parent, input): &(NodeIndex, usize)| {
                visit[*input].is_none() && !has_run(*parent) && !self.forced.contains(parent)
            };
            forced = parents(*node).find(is_missing).map(|(parent, _)| parent);
            if forced.is_some() {
                break;
            }
        }
        let Some(mut first) = forced else { return };
        // The first of them that nothing before it has to give anything to.
        let mut seen = vec![first];
        let waits = |node: NodeIndex| self.waiting.iter().any(|(waiting, _)| *waiting == node);
        while let Some((parent, _)) = parents(first)
            .find(|(parent, _)| !has_run(*parent) && !seen.contains(parent) && !waits(*parent))
        {
            seen.push(parent);
            first = parent;
        }
        self.forced.extend(seen);
        let outputs = Arc::new(vec![vec![Item::default()]]);
        let source = Source { node: first, output: 0, pass: 0 };
        let arrival = Arrival { outputs, source };
        self.stack(Frame { node: first, arrivals: vec![Some(arrival)] });
    }

    /// The next node to be visited.
    pub(super) fn next(&mut self, graph: &Graph) -> Option<Frame> {
        if let Some(frame) = self.stack.pop_front() {
            return Some(frame);
        }
        let place = (0..self.waiting.len()).find(|place| self.is_due(graph, *place))?;
        let (node, visits) = &mut self.waiting[place];
        let (node, arrivals) = (*node, visits.pop_front().expect("none waits without a visit"));
        if visits.is_empty() {
            self.waiting.remove(place);
        }
        Some(Frame { node, arrivals })
    }

    fn arrive(&mut self, graph: &Graph, edge: Edge, arrival: Arrival) {
        let inputs = graph.node(edge.to).inputs;
        if inputs < 2 {
            return self.stack(Frame { node: edge.to, arrivals: vec![Some(arrival)] });
        }
        let place = self.waiting.iter().position(|(node, _)| *node == edge.to);
        let place = place.unwrap_or_else(|| {
            self.waiting.push((edge.to, VecDeque::new()));
            self.waiting.len() - 1
        });
        let visits = &mut self.waiting[place].1;
        let free = visits.iter().position(|visit| visit[edge.input].is_none());
        let visit = free.unwrap_or_else(|| {
            visits.push_back(vec![None; inputs]);
            visits.len() - 1
        });
        visits[visit][edge.input] = Some(arrival);
        if visits[visit].iter().all(Option::is_some) {
            let arrivals = visits.remove(visit).expect("it was found just now");
            if visits.is_empty() {
                self.waiting.remove(place);
            }
            self.stack(Frame { node: edge.to, arrivals });
        }
    }

    fn stack(&mut self, frame: Frame) {
        match self.order {
            Order::V0 => self.stack.push_back(frame),
            Order::V1 => self.stack.push_front(frame),
        }
    }

    /// Whether a waiting node need not wait any longer, now that nothing else is left to do.
    fn is_due(&self, graph: &Graph, place: usize) -> bool {
        let (node, visits) = &self.waiting[place];
        let others = self.waiting.iter().map(|(other, _)| *other);
        let waits_for_parent =
            others.filter(|other| other != node).any(|other| graph.leads(other, *node));
        let missing = visits.front().is_some_and(|visit| visit.iter().any(Option::is_none));
        !waits_for_parent && (!missing || !graph.node(*node).needs_all_inputs())
    }
}
