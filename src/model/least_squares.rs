//! Least squares with intercept: the paper's regression. The normal equations are exact.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::{Ar, to_f64};
use crate::window::View;

/// How little of a lag's variance may be left by the lags before it, else the equations count as singular: the
/// coefficients would have lost 10 of their 16 digits.
const LEAST_LEFT: f64 = 1e-10;

/// The model of order `p` of the samples that have `p` before them, at least `p + 2`; none if its
/// equations are singular.
pub fn fit(view: &View<'_>, p: usize) -> Option<Ar> {
    let x = view.samples;
    let rows = (x.len() - p) as f64;
    let (covariances, sums) = centred(view, p);
    let at = |i: usize, j: usize| to_f64(covariances[i * (p + 1) + j]);
    // Only the lower triangle is read.
    let matrix = DMatrix::from_fn(p, p, |i, j| if i < j { 0.0 } else { at(i + 1, j + 1) });
    let right = DVector::from_fn(p, |i, _| at(i + 1, 0));
    let variances = matrix.diagonal();
    let root = Cholesky::new(matrix)?;
    let lower = root.l_dirty();
    if (0..p).any(|i| lower[(i, i)].powi(2) <= LEAST_LEFT * variances[i]) {
        return None;
    }
    let phi = root.solve(&right);
    let intercept = sums[0] as f64 / rows - (1..=p).map(|i| phi[i - 1] * sums[i] as f64 / rows).sum::<f64>();
    let left = at(0, 0) - phi.iter().zip(&right).map(|(a, b)| a * b).sum::<f64>();
    let variance = left.max(0.0) / (rows * rows);
    Some(Ar { phi: phi.as_slice().to_vec(), intercept, variance })
}

/// With `N = n - p` rows, column i holding `x[t - i]` for t from p on: `N * sum of column i * column j - total i * total j`
/// for i >= j (0 elsewhere), and the totals. Sums are below 2^78 (see `window`), N and totals below 2^20 and 2^49: no
/// overflow.
fn centred(view: &View<'_>, p: usize) -> (Vec<i128>, Vec<i64>) {
    let x = |t: usize| i64::from(view.samples[t]);
    let (n, width) = (view.samples.len(), p + 1);
    let rows = (n - p) as i128;
    let mut sums = vec![view.total as i64 - (0..p).map(x).sum::<i64>()];
    for i in 0..p {
        sums.push(sums[i] + x(p - 1 - i) - x(n - 1 - i));
    }
    let mut products = vec![0i128; width * width];
    for i in 0..width {
        // All products a lag of i apart, but for those whose later sample is before the first row.
        products[i * width] = view.lagged[i] - (i..p).map(|t| i128::from(x(t) * x(t - i))).sum::<i128>();
    }
    for i in 0..p {
        for j in 0..=i {
            // A column further is a sample earlier.
            let (enters, leaves) = (x(p - 1 - i) * x(p - 1 - j), x(n - 1 - i) * x(n - 1 - j));
            products[(i + 1) * width + j + 1] = products[i * width + j] + i128::from(enters - leaves);
        }
    }
    for i in 0..width {
        for j in 0..=i {
            let product = &mut products[i * width + j];
            *product = rows * *product - i128::from(sums[i]) * i128::from(sums[j]);
        }
    }
    (products, sums)
}
