//! Models as points in a plane: their first two principal components (the paper's Figure 9).

use nalgebra::{DMatrix, SymmetricEigen};

/// Turns of the iteration: a matrix of 100 rows takes some 200.
const TURNS: usize = 10_000;

/// Points in the plane in which they differ most.
pub struct Components {
    /// One a row.
    pub points: Vec<(f64, f64)>,
    /// The share of all variance in each of the two directions.
    pub shares: [f64; 2],
}

/// The first two principal components of rows, shorter ones continued with zeros; none of rows that are all the same.
pub fn components(rows: &[&[f64]]) -> Option<Components> {
    let dims = rows.iter().map(|row| row.len()).max()?.max(2);
    let at = |row: &[f64], i: usize| row.get(i).copied().unwrap_or(0.0);
    let mean: Vec<f64> =
        (0..dims).map(|i| rows.iter().map(|row| at(row, i)).sum::<f64>() / rows.len() as f64).collect();
    let off = |row: &[f64], i: usize| at(row, i) - mean[i];
    let covariance =
        DMatrix::from_fn(dims, dims, |i, j| rows.iter().map(|row| off(row, i) * off(row, j)).sum::<f64>());
    let all = covariance.trace();
    let eigen = SymmetricEigen::try_new(covariance, f64::EPSILON, TURNS).filter(|_| all > 0.0)?;
    let mut order: Vec<usize> = (0..dims).collect();
    order.sort_by(|i, j| eigen.eigenvalues[*j].total_cmp(&eigen.eigenvalues[*i]));
    let direction = |which: usize| {
        let vector = eigen.eigenvectors.column(which);
        // Either direction is one: the largest part of it is positive.
        let sign = if vector[vector.iamax()] < 0.0 { -1.0 } else { 1.0 };
        vector.iter().map(|x| sign * x).collect::<Vec<f64>>()
    };
    let [first, second] = [direction(order[0]), direction(order[1])];
    let along = |row: &[f64], way: &[f64]| (0..dims).map(|i| off(row, i) * way[i]).sum::<f64>();
    Some(Components {
        points: rows.iter().map(|row| (along(row, &first), along(row, &second))).collect(),
        shares: [0, 1].map(|i| (eigen.eigenvalues[order[i]] / all).clamp(0.0, 1.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_component_is_where_points_differ_most() {
        let rows: [&[f64]; 4] = [&[0.0, 0.0, 5.0], &[2.0, 2.0, 5.0], &[4.0, 4.0, 5.0], &[2.0, 2.5, 5.0]];
        let found = components(&rows).unwrap();
        assert!(found.shares[0] > 0.95 && found.shares[0] + found.shares[1] > 0.999, "{:?}", found.shares);
        assert!(found.points[0].0 < found.points[1].0 && found.points[1].0 < found.points[2].0);
        assert!(components(&[&[1.0], &[1.0]]).is_none());
        assert!(components(&[]).is_none());
        assert_eq!(components(&[&[], &[1.0]]).unwrap().points.len(), 2);
    }
}
