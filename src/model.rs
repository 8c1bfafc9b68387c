//! The autoregressive model of one VM's window: fitted from its exact sums, and what it did not predict.
//!
//! Pure. Yule-Walker (biased autocovariances, as statsmodels' `yule_walker(method="mle")`) costs a microsecond and is
//! always stable; least squares (with intercept, as statsmodels' `AutoReg`) is the paper's regression.
//!
//! Everything up to the equations is in integers; they are solved in floating point whose order of operations is
//! written here, so that every CPU gives the same bits.

use crate::simd::Simd;
use crate::window::View;

mod innovations;
mod least_squares;
mod ln;
mod yule_walker;

pub use innovations::innovations;
pub(crate) use ln::ln;
pub use yule_walker::{autocovariances, levinson};

/// An autoregressive model: `x[t] = intercept + sum of phi[k - 1] * x[t - k] + innovation`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ar {
    /// The coefficients: `phi[k - 1]` is that of lag k. As many as the order.
    pub phi: Vec<f64>,
    /// The intercept, ppm of one core.
    pub intercept: f64,
    /// The variance of the innovations, ppm^2.
    pub variance: f64,
}

/// How many lags a model has. Clipped to what the window has sums for, and samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// As many as said.
    Fixed(usize),
    /// From 0 to `max`, the order whose Yule-Walker model has the least AICc,
    /// `n ln(variance) + 2 k + 2 k (k + 1) / (n - k - 1)` (Hurvich and Tsai, *Regression and time series model
    /// selection in small samples*, Biometrika 76, 1989); of equals the smallest.
    Auto {
        /// The largest.
        max: usize,
    },
}

/// How the coefficients are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// The Yule-Walker equations, by Levinson-Durbin.
    YuleWalker,
    /// Least squares with intercept over the samples that have `order` before them. Where its equations are
    /// singular (see `least_squares`) Yule-Walker of the same order, which never is. [`Order::Auto`] is
    /// decided by Yule-Walker.
    LeastSquares,
}

/// Fits a model to a window. A constant window gives coefficients of 0 and a variance of 0; nothing is ever NaN.
pub fn fit(view: &View<'_>, order: Order, fit: Fit, simd: Simd) -> Ar {
    let n = view.samples.len();
    let (Order::Fixed(most) | Order::Auto { max: most }) = order;
    // AICc needs n - k - 1 > 0; least squares at least one more equation than unknowns: n - p >= p + 2.
    let limit = match fit {
        Fit::YuleWalker => n.saturating_sub(2),
        Fit::LeastSquares => n.saturating_sub(2) / 2,
    };
    let most = most.min(limit).min(view.lagged.len().saturating_sub(1));
    let by_yule_walker = yule_walker::fit(view, most, matches!(order, Order::Auto { .. }), simd);
    match fit {
        Fit::YuleWalker => by_yule_walker,
        Fit::LeastSquares => least_squares::fit(view, by_yule_walker.phi.len()).unwrap_or(by_yule_walker),
    }
}

/// The nearest `f64`, in one instruction where the number fits one, else by a library call.
fn to_f64(x: i128) -> f64 {
    i64::try_from(x).map_or_else(|_| x as f64, |small| small as f64)
}

#[cfg(test)]
mod tests;
