//! K-means on the VMs' AR coefficient vectors, as in the paper: VMs in one cluster depend on each other.
//!
//! Pure, and a function of its arguments alone: the same points, parameters and seed give the same bytes
//! with every [`Simd`]. What the ensembles are called from window to window is in [`Names`].

mod choose;
mod names;
mod nearest;
mod partition;
mod points;
mod search;
mod seeding;
mod share;
#[cfg(test)]
mod naive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

pub use names::Names;
pub use points::{Points, UNIT};
pub use search::Assignment;
pub use share::{Ask, Hands, Question, Share, ranges};

use crate::simd::Simd;
use search::Search;

/// How many clusters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Clusters {
    /// As many, or as many as there are different points, if these are fewer.
    Fixed(usize),
    /// As many as give the least sum of the inertia and `noise` for each cluster: a cluster must explain more
    /// than chance would. (A penalty a cluster: the objective of DP-means, Kulis and Jordan, 2012.)
    Auto {
        /// The expected squared distance between a point and itself measured again. Of the coefficients of an AR model
        /// of order p from n samples it is about p / n (exact for white noise, as n grows).
        noise: f64,
    },
}

/// What [`kmeans`] needs to know beside the points.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Params {
    clusters: Clusters,
    starts: Option<usize>,
    seed: u64,
}

/// Parameters that make no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ParamsError {
    /// No cluster.
    #[error("the number of clusters must be at least 1")]
    NoCluster,
    /// No start, or too many.
    #[error("the number of starts must be from 1 to {}, not {starts}", Params::MAX_STARTS)]
    Starts {
        /// As given.
        starts: usize,
    },
}

impl Params {
    /// 1,000 starts with 1,200 points in 340 clusters take half a minute.
    pub const MAX_STARTS: usize = 1000;

    /// `starts` independent searches are made, of which the best counts; unless said, ten for up to 200 points, where
    /// they cost nothing, and fewer for more, down to one from 2,000 (with a thousand points in hundreds of clusters they
    /// end within 0.5 % of each other).
    ///
    /// # Errors
    ///
    /// No cluster, no start, or more than [`Params::MAX_STARTS`] starts.
    pub fn new(clusters: Clusters, starts: Option<usize>, seed: u64) -> Result<Self, ParamsError> {
        if clusters == Clusters::Fixed(0) {
            return Err(ParamsError::NoCluster);
        }
        if let Some(starts) = starts.filter(|starts| !(1..=Self::MAX_STARTS).contains(starts)) {
            return Err(ParamsError::Starts { starts });
        }
        Ok(Params { clusters, starts, seed })
    }
}

/// Points in clusters, none of which is empty.
#[derive(Clone, PartialEq, Debug)]
pub struct Clustering {
    /// The cluster of each point, `0..k`, numbered in the order of their first points.
    pub assignment: Vec<u32>,
    /// How many clusters there are; 0 without points.
    pub k: usize,
    /// The sum of the squared Euclidean distances between points and centroids, in the points' own unit.
    pub inertia: f64,
    /// For each point its simplified silhouette, `(b - a) / max(a, b)`, where `a` and `b` are its distances
    /// from the centroids of its own cluster and of the nearest other (Hruschka et al., 2006): -1 to 1; 0
    /// in a cluster of one, where there is only one cluster, and where both distances are 0.
    pub silhouette: Vec<f64>,
}

/// Clusters of points so that the inertia is small.
///
/// Each start draws centres by greedy k-means++, then searches: single points move while that lets the inertia fall
/// (Hartigan and Wong, 1979), then whole clusters are dissolved where others gain more by being split. The
/// result is therefore a fixed point of Lloyd's iteration, and no single move makes it better. (Lloyd's
/// alone stops much earlier: its inertia was an eighth higher with clusters of three or four points.)
/// Where there are more than 8,192 points and 8 a cluster, the centres come from such a search in a sample.
pub fn kmeans(points: &Points, params: &Params, simd: Simd) -> Clustering {
    kmeans_by(points, params, simd.into())
}

/// The same, bit by bit, whoever does the work.
pub fn kmeans_by(points: &Points, params: &Params, hands: Hands) -> Clustering {
    let distinct = points.distinct();
    let k = match params.clusters {
        Clusters::Fixed(k) => k.min(distinct),
        Clusters::Auto { noise } => choose::clusters(points, noise, params.seed, hands),
    };
    fit(points, k, params, hands)
}

/// The best of the starts, with exactly `k` clusters; there are as many different points, or more.
fn fit(points: &Points, k: usize, params: &Params, hands: Hands) -> Clustering {
    if points.is_empty() {
        return Clustering { assignment: Vec::new(), k: 0, inertia: 0.0, silhouette: Vec::new() };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(params.seed);
    let mut search = Search::new(points, hands);
    let mut best = search.partition(k, &mut rng);
    for _ in 1..params.starts.unwrap_or((2000 / points.len()).clamp(1, 10)) {
        let next = search.partition(k, &mut rng);
        if next.inertia() < best.inertia() {
            best = next;
        }
    }
    Clustering {
        assignment: numbered(best.owner(), k + 1),
        k,
        inertia: best.inertia() / (UNIT * UNIT),
        silhouette: search.silhouette(&best),
    }
}

/// The slots renumbered in the order in which they are first seen.
fn numbered(owner: &[u32], slots: usize) -> Vec<u32> {
    let (mut number, mut seen) = (vec![None; slots], 0);
    let mut name = |&slot: &u32| {
        *number[slot as usize].get_or_insert_with(|| {
            seen += 1;
            seen - 1
        })
    };
    owner.iter().map(&mut name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params(k: usize, starts: usize) -> Params {
        Params::new(Clusters::Fixed(k), Some(starts), 7).unwrap()
    }

    #[test]
    fn params_are_checked() {
        assert_eq!(Params::new(Clusters::Fixed(0), None, 0), Err(ParamsError::NoCluster));
        assert_eq!(
            Params::new(Clusters::Auto { noise: 1.0 }, Some(0), 0),
            Err(ParamsError::Starts { starts: 0 })
        );
        assert!(Params::new(Clusters::Auto { noise: 1.0 }, Some(1001), 0).is_err());
    }

    /// Each row: points on a line, clusters wanted, assignment.
    #[test]
    fn small_cases() {
        for (line, k, expected) in [
            (vec![], 3, vec![]),
            (vec![1.0], 3, vec![0]),
            (vec![5.0; 4], 3, vec![0; 4]),
            (vec![0.0, 9.0, 0.1, 9.1], 1, vec![0; 4]),
            (vec![0.0, 9.0, 0.1, 9.1], 2, vec![0, 1, 0, 1]),
            (vec![0.0, 9.0, 0.0, 9.1, 9.0], 9, vec![0, 1, 0, 2, 1]),
            (vec![1e9, -1e9, 1e9], 2, vec![0, 1, 0]),
        ] {
            let points = Points::from_rows(&line.iter().map(|&x| [x]).collect::<Vec<_>>());
            let found = kmeans(&points, &params(k, 2), Simd::Portable);
            assert_eq!(found.assignment, expected, "{line:?} in {k}");
            assert!(found.inertia.is_finite() && found.silhouette.iter().all(|s| s.abs() <= 1.0));
        }
    }

    #[test]
    fn silhouettes_say_how_well_a_point_lies() {
        let points = Points::from_rows(&[[0.0], [1.0], [10.0]]);
        let found = kmeans(&points, &params(2, 1), Simd::Portable);
        let expected = [(10.0 - 0.5) / 10.0, (9.0 - 0.5) / 9.0, 0.0];
        assert!(found.silhouette.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        assert!((found.inertia - 0.5).abs() < 1e-9);
    }

    #[test]
    fn auto_finds_clusters_that_lie_apart() {
        for (groups, each) in [(2, 5), (6, 3), (30, 4), (100, 3)] {
            let row =
                |i: usize| [(i % groups) as f64 * 10.0 + (i / groups) as f64 * 0.1, (i % groups) as f64];
            let points = Points::from_rows(&(0..groups * each).map(row).collect::<Vec<_>>());
            let auto = Params::new(Clusters::Auto { noise: 1.0 }, Some(3), 1).unwrap();
            let k = kmeans(&points, &auto, Simd::detect()).k;
            assert_eq!(k, groups);
        }
    }

    #[test]
    fn many_points_start_from_a_sample() {
        let row = |i: usize| [(i % 20) as f64, (i * 7919 % 1000) as f64 * 1e-4];
        let points = Points::from_rows(&(0..9000).map(row).collect::<Vec<_>>());
        let found = kmeans(&points, &params(20, 1), Simd::detect());
        assert_eq!(found.k, 20);
        assert!((0..9000).all(|i| found.assignment[i] == (i % 20) as u32));
    }

    /// Points on a coarse grid: many are equal, many distances, too.
    fn rows() -> impl Strategy<Value = Vec<Vec<f64>>> {
        let row = |dims| prop::collection::vec((-8i32..8).prop_map(|x| f64::from(x) * 0.37), dims);
        (1usize..20).prop_flat_map(move |dims| prop::collection::vec(row(dims), 0..60))
    }

    proptest! {
        #[test]
        fn every_level_is_the_naive_twin(rows in rows(), k in 1usize..20, starts in 1usize..3) {
            let points = Points::from_rows(&rows);
            let twin = naive::kmeans(&points, k, starts, 7);
            for simd in Simd::available() {
                let found = kmeans(&points, &params(k, starts), simd);
                prop_assert_eq!(&found, &twin, "{:?}", simd);
            }
        }

        #[test]
        fn no_cluster_is_empty_and_nothing_is_left_to_lloyd(rows in rows(), k in 1usize..30) {
            let points = Points::from_rows(&rows);
            let found = kmeans(&points, &params(k, 1), Simd::detect());
            prop_assert_eq!(found.k, k.min(points.distinct()));
            let sizes = naive::sizes(&found.assignment, found.k);
            prop_assert!(sizes.iter().all(|&n| n > 0), "{:?}", sizes);
            prop_assert!(found.silhouette.iter().all(|s| (-1.0..=1.0).contains(s)));
            let lloyd = naive::lloyd(&points, &found.assignment, found.k);
            prop_assert!(found.inertia <= lloyd * (1.0 + 1e-6) + 1e-9, "{} {}", found.inertia, lloyd);
        }
    }
}
