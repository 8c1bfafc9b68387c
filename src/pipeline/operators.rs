//! Shells around the stages: they wait for what belongs to one window, and call.

use std::collections::BTreeMap;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::core::OkErr;
use timely::dataflow::operators::generic::Operator;

use super::kept::Change;

/// A stream of records in vectors, at times that number the panes.
pub type Records<'s, D> = Stream<'s, u64, Vec<D>>;

/// A record, with the pane that it belongs to: at or after the time at which it travels.
pub type Timed<D> = (D, u64);

/// Collects the records of each pane on the worker that `route` names and, when the pane is complete, hands
/// them to `logic`, whose answers go on at that time.
pub fn per_window<'s, A, B, R, L>(
    input: Records<'s, Timed<A>>,
    name: &str,
    route: R,
    mut logic: L,
) -> Records<'s, Timed<B>>
where
    A: ExchangeData,
    B: Clone + 'static,
    R: Fn(&A) -> u64 + 'static,
    L: FnMut(u64, Vec<A>) -> Vec<B> + 'static,
{
    let route = Exchange::new(move |(record, _): &Timed<A>| route(record));
    input.unary_frontier::<CapacityContainerBuilder<Vec<Timed<B>>>, _, _, _>(route, name, |_cap, _info| {
        let mut waiting = BTreeMap::<u64, (Capability<u64>, Vec<A>)>::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|cap, data| {
                for (record, pane) in data.flat_map(|part| part.drain(..)) {
                    let held = || (cap.delayed(&pane, output.output_index()), vec![]);
                    waiting.entry(pane).or_insert_with(held).1.push(record);
                }
            });
            while waiting.first_key_value().is_some_and(|(pane, _)| !frontier.less_equal(pane)) {
                if let Some((pane, (cap, records))) = waiting.pop_first() {
                    output
                        .session(&cap)
                        .give_iterator(logic(pane, records).into_iter().map(|answer| (answer, pane)));
                }
            }
        }
    })
}

/// What a stage says that keeps something.
#[derive(Clone, Debug)]
pub enum Out<D> {
    /// For the stages that follow.
    Said(D),
    /// For the next start.
    Kept(Change),
}

/// What was said and what is to be kept, apart.
pub fn apart<'s, D: 'static>(
    out: Records<'s, Timed<Out<D>>>,
) -> (Records<'s, Timed<D>>, Records<'s, Timed<Change>>) {
    split(out, |out| match out {
        Out::Said(said) => Ok(said),
        Out::Kept(change) => Err(change),
    })
}

/// Two kinds of records, apart.
pub fn split<'s, D: 'static, A: 'static, B: 'static>(
    records: Records<'s, Timed<D>>,
    kind: impl Fn(D) -> Result<A, B> + 'static,
) -> (Records<'s, Timed<A>>, Records<'s, Timed<B>>) {
    records.ok_err(move |(record, pane)| match kind(record) {
        Ok(one) => Ok((one, pane)),
        Err(other) => Err((other, pane)),
    })
}

/// What a stage with a memory does.
pub trait PaneStage<A, B> {
    /// Takes in a record of a pane that is still open.
    fn take(&mut self, record: A);
    /// Closes a pane; called for each in turn, also for one that brought nothing.
    fn close(&mut self, pane: u64) -> Vec<B>;
    /// How far the panes that have nothing may be passed over, of those from `pane` on and before `open`; those of a log
    /// are counted from the epoch.
    fn skip(&mut self, pane: u64, open: u64) -> u64;
}

/// Runs `stage` on each worker over the records that `route` sends there.
pub fn per_pane<'s, A, B, R, S>(
    input: Records<'s, A>,
    name: &str,
    route: R,
    mut stage: S,
) -> Records<'s, Timed<B>>
where
    A: ExchangeData,
    B: Clone + 'static,
    R: Fn(&A) -> u64 + 'static,
    S: PaneStage<A, B> + 'static,
{
    let route = Exchange::new(route);
    input.unary_frontier::<CapacityContainerBuilder<Vec<Timed<B>>>, _, _, _>(route, name, |cap, _info| {
        let mut next = Some(cap);
        move |(input, frontier), output| {
            input.for_each_stamp(|_, data| {
                data.flat_map(|part| part.drain(..)).for_each(|record| stage.take(record))
            });
            while let Some(cap) = next.as_mut() {
                let pane = *cap.time();
                match frontier.frontier().first() {
                    // The input ended: a pane that it did not close stays open for ever.
                    None => next = None,
                    Some(open) if *open <= pane => break,
                    Some(open) => {
                        let pane = stage.skip(pane, *open);
                        cap.downgrade(&pane);
                        if pane == *open {
                            break;
                        }
                        output
                            .session(cap)
                            .give_iterator(stage.close(pane).into_iter().map(|answer| (answer, pane)));
                        cap.downgrade(&(pane + 1));
                    }
                }
            }
        }
    })
}
