//! What is seen of a VM, and of two of them: at which scales they take part.

use super::params::{Params, Scale};
use crate::types::lcm;

/// What is known of one VM at all scales, one after the other: its scores, or its vector.
///
/// A host that samples more coarsely than others takes part in the scales that are whole samples: at the others
/// its VMs have zeros, which say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// `params.values()` values.
    pub values: &'a [i8],
    /// Ticks of a sample.
    pub grain: usize,
}

impl<'a> Seen<'a> {
    /// Of a VM whose samples are single ticks: it takes part in all scales.
    pub fn fine(values: &'a [i8]) -> Self {
        Seen { values, grain: 1 }
    }

    /// Whether it takes part in a scale.
    pub fn is_at(&self, scale: &Scale) -> bool {
        // Nearly all are fine, and this is asked for every pair.
        self.grain == 1 || scale.ticks.is_multiple_of(self.grain)
    }

    /// The grain of what it has in common with `other`.
    pub fn common(&self, other: &Seen<'_>) -> usize {
        lcm(self.grain as u64, other.grain as u64) as usize
    }

    /// By what a product with `other`, over all scales that they have in common, is multiplied to spread as one over all
    /// scales does; 0 if they have none.
    pub fn enlarged(&self, other: &Seen<'_>, params: &Params) -> f64 {
        if self.grain == 1 && other.grain == 1 { 1.0 } else { params.enlarged(self.common(other)) }
    }
}
