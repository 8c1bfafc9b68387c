//! How well the paper's method does by the order of its models (its Figure 5).

use std::collections::BTreeMap;

use super::recorded::{MAX_ORDER, Recorded};
use crate::cluster::{Clusters, Params, ParamsError, Points, kmeans};
use crate::evaluate::{Measures, Truth};
use crate::model::{self, Fit, Order};
use crate::simd::Simd;
use crate::types::VmId;

/// The orders that are tried.
const ORDERS: [usize; 10] = [5, 10, 20, 30, 40, 45, 50, 60, 80, MAX_ORDER];

/// Clusters the VMs by models of each order, as many clusters as there are in truth, and scores them. Of 500 VMs that is ten
/// times K-means, a second in all.
///
/// # Errors
/// A truth without ensembles.
pub fn by_order(
    recorded: &[Recorded],
    truth: &Truth,
    (fit, seed): (Fit, u64),
    simd: Simd,
) -> Result<Vec<(usize, Measures)>, ParamsError> {
    let params = Params::new(Clusters::Fixed(truth.clusters()), None, seed)?;
    let length = recorded.first().map_or(0, |vm| vm.samples.len());
    let score = |order: usize| {
        let mut points = Points::new(order);
        let views = recorded.iter().filter_map(Recorded::view);
        views.for_each(|view| points.push(&model::fit(&view, Order::Fixed(order), fit, simd).phi));
        let of = kmeans(&points, &params, simd).assignment;
        let found = recorded.iter().zip(of).map(|(vm, cluster)| (vm.vm.clone(), vec![cluster.to_string()]));
        let found: BTreeMap<VmId, Vec<String>> = found.collect();
        (order, truth.score(&found).score.measures())
    };
    // A model needs twice as many samples as it has coefficients, and more.
    Ok(ORDERS.into_iter().filter(|order| 2 * order < length).map(score).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;
    use crate::report::recorded::tests::recorded;

    #[test]
    fn each_order_that_fits_is_scored() {
        let all = graph(&[("e1", 3), ("e2", 3)], 0);
        let truth: String = all.vms.iter().map(|(vm, of)| format!("{vm},{}\n", of[0])).collect();
        let truth = Truth::parse(&format!("vm,ensemble\n{truth}")).unwrap();
        let scores = by_order(&recorded(&all, 100), &truth, (Fit::YuleWalker, 1), Simd::Portable).unwrap();
        assert_eq!(scores.iter().map(|(order, _)| *order).collect::<Vec<_>>(), [5, 10, 20, 30, 40, 45]);
        assert!(scores.iter().all(|(_, score)| score.tp + score.tn + score.fp + score.fn_ == 15.0));
        let none = Truth::parse("vm,ensemble\n").unwrap();
        assert!(by_order(&[], &none, (Fit::YuleWalker, 1), Simd::Portable).is_err());
    }
}
