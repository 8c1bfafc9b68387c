//! The slow, obvious twin of the search: plain loops, sums made anew each time, nothing packed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Clustering, Points, UNIT};

type Owner = Vec<usize>;

/// How many points each of `k` clusters has.
pub fn sizes(assignment: &[u32], k: usize) -> Vec<usize> {
    (0..k as u32).map(|c| assignment.iter().filter(|&&owner| owner == c).count()).collect()
}

/// The inertia to which Lloyd's iteration comes from an assignment.
pub fn lloyd(points: &Points, assignment: &[u32], k: usize) -> f64 {
    let mut owner: Owner = assignment.iter().map(|&c| c as usize).collect();
    for _ in 0..100 {
        let centres: Vec<_> = (0..k).map(|c| centre(points, &owner, c)).collect();
        for (x, own) in owner.iter_mut().enumerate() {
            let d = |c: &usize| distance2(points.row(x), &centres[*c]);
            *own = (0..k).min_by(|a, b| d(a).total_cmp(&d(b))).unwrap_or(0);
        }
    }
    inertia(points, &owner) / (UNIT * UNIT)
}

/// As [`super::kmeans`], with at most `k` clusters.
pub fn kmeans(points: &Points, k: usize, starts: usize, seed: u64) -> Clustering {
    let k = k.min(points.distinct());
    if k == 0 {
        return Clustering { assignment: Vec::new(), k: 0, inertia: 0.0, silhouette: Vec::new() };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let searched: Vec<Owner> = (0..starts).map(|_| search(points, k, &mut rng)).collect();
    let first = searched[0].clone();
    let better = |a: Owner, b: Owner| if inertia(points, &b) < inertia(points, &a) { b } else { a };
    let owner = searched.into_iter().fold(first, better);
    let mut order: Vec<usize> = Vec::new();
    owner.iter().for_each(|c| {
        if !order.contains(c) {
            order.push(*c)
        }
    });
    let number = |c: &usize| order.iter().position(|other| other == c).unwrap() as u32;
    let silhouette = (0..owner.len()).map(|x| silhouette(points, &owner, x)).collect();
    Clustering {
        assignment: owner.iter().map(number).collect(),
        k,
        inertia: inertia(points, &owner) / (UNIT * UNIT),
        silhouette,
    }
}

fn search(points: &Points, k: usize, rng: &mut ChaCha8Rng) -> Owner {
    let start: Vec<Vec<f32>> = seeds(points, k, rng).into_iter().map(|x| single(points, x)).collect();
    let all: Vec<_> = start.into_iter().enumerate().map(|(c, row)| (c, 1.0, row)).collect();
    let mut owner: Owner = (0..points.len()).map(|x| nearest(&single(points, x), usize::MAX, &all)).collect();
    while let Some(empty) = (0..k).find(|c| !owner.contains(c)) {
        fill(points, &mut owner, (empty, k));
    }
    settle(points, &mut owner, (0..=k).collect());
    exchange(points, &mut owner, k);
    owner
}

/// One pass of filling: the farthest point of each cluster, into the empty ones, farthest first.
fn fill(points: &Points, owner: &mut Owner, (first, k): (usize, usize)) {
    let empty: Vec<usize> = (first..k).filter(|c| !owner.contains(c)).collect();
    let d: Vec<f64> = (0..owner.len()).map(|x| distance(points, owner, (x, owner[x]))).collect();
    let mut order: Vec<usize> = (0..owner.len()).filter(|&x| d[x] > 0.0).collect();
    order.sort_by(|&a, &b| d[b].total_cmp(&d[a]));
    let mut seen = Vec::new();
    order.retain(|&x| {
        !seen.contains(&owner[x]) && {
            seen.push(owner[x]);
            true
        }
    });
    order.into_iter().zip(empty).for_each(|(x, c)| owner[x] = c);
}

fn seeds(points: &Points, k: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let rows: Vec<Vec<f32>> = (0..points.len()).map(|x| single(points, x)).collect();
    let mut near = vec![f32::MAX; rows.len()];
    let mut chosen = Vec::new();
    while chosen.len() < k {
        let total: f64 = near.iter().fold(0.0, |sum, &d| sum + f64::from(d));
        if total <= 0.0 {
            break;
        }
        let drawn: Vec<usize> = (0..6)
            .map(|_| {
                let below = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
                let mut sum = 0.0;
                let past = near.iter().position(|&d| {
                    sum += f64::from(d);
                    sum > below
                });
                past.unwrap_or(rows.len() - 1)
            })
            .collect();
        for _ in 0..3.min(k - chosen.len()) {
            let mut best: Option<(f64, usize)> = None;
            for &x in drawn.iter().filter(|&&x| near[x] > 0.0) {
                let left: Vec<f32> =
                    (0..rows.len()).map(|y| near[y].min(half(&rows[x], &rows[y]).max(0.0))).collect();
                let sum = lanes(left.iter().map(|&d| f64::from(d)));
                best = if best.is_none_or(|(least, _)| sum < least) { Some((sum, x)) } else { best };
            }
            let Some((_, x)) = best else { break };
            (0..rows.len()).for_each(|y| near[y] = near[y].min(half(&rows[x], &rows[y]).max(0.0)));
            near[x] = 0.0;
            chosen.push(x);
        }
    }
    chosen
}

fn settle(points: &Points, owner: &mut Owner, mut stirred: Vec<usize>) {
    for _ in 0..100 {
        let (before, old) = (std::mem::take(&mut stirred), owner.clone());
        let k = old.iter().max().map_or(0, |c| c + 1);
        let all: Vec<_> = (0..k).filter(|c| old.contains(c)).map(|c| weighted(points, &old, c)).collect();
        for moved in [true, false] {
            let now = owner.clone();
            let asked: Vec<_> = all.iter().filter(|c| moved || before.contains(&c.0)).cloned().collect();
            for x in (0..old.len()).filter(|&x| before.contains(&old[x]) == moved) {
                let to = nearest(&single(points, x), now[x], &asked);
                if to != usize::MAX {
                    improve(points, owner, (x, to), &mut stirred);
                }
            }
        }
        if stirred.is_empty() {
            return;
        }
    }
}

fn exchange(points: &Points, owner: &mut Owner, k: usize) {
    let all: Vec<_> = (0..k).map(|c| weighted(points, owner, c)).collect();
    let others: Vec<usize> = (0..owner.len()).map(|x| nearest(&single(points, x), owner[x], &all)).collect();
    if others.contains(&usize::MAX) {
        return;
    }
    let members: Vec<Vec<usize>> =
        (0..k).map(|c| (0..owner.len()).filter(|&x| owner[x] == c).collect()).collect();
    let mut losses: Vec<_> =
        (0..k).map(|c| (dissolve(points, &mut owner.clone(), (&members[c], &others)), c)).collect();
    let mut gains: Vec<_> =
        (0..k).map(|c| (split(points, &mut owner.clone(), (&members[c], c, k)), c)).collect();
    losses.sort_by(|a, b| a.0.total_cmp(&b.0));
    gains.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut used, mut gains, mut stirred) = (Vec::new(), gains.into_iter(), Vec::new());
    for (loss, gone) in losses {
        if used.contains(&gone) {
            continue;
        }
        let Some((gain, big)) = gains.find(|(_, c)| !used.contains(c) && *c != gone) else { break };
        if loss + gain >= -1e-9 * loss {
            break;
        }
        stirred.extend(members[gone].iter().map(|&x| others[x]).chain([gone, big]));
        let mut tried = owner.clone();
        let rise = dissolve(points, &mut tried, (&members[gone], &others))
            + split(points, &mut tried, (&members[big], big, gone));
        if rise < -1e-9 * loss {
            used.extend([gone, big]);
            *owner = tried;
        }
    }
    if !used.is_empty() {
        settle(points, owner, stirred);
    }
}

fn dissolve(points: &Points, owner: &mut Owner, (members, others): (&[usize], &[usize])) -> f64 {
    members
        .iter()
        .map(|&x| {
            let rise = joining(points, owner, (x, others[x])) - leaving(points, owner, x);
            owner[x] = others[x];
            rise
        })
        .sum()
}

fn split(points: &Points, owner: &mut Owner, (members, c, free): (&[usize], usize, usize)) -> f64 {
    if members.len() < 2 {
        return 0.0;
    }
    let d: Vec<f64> = members.iter().map(|&x| distance(points, owner, (x, owner[x]))).collect();
    let farthest = (0..d.len()).fold(0, |far, i| if d[i] > d[far] { i } else { far });
    let founder = members[farthest];
    let mut rise = joining(points, owner, (founder, free)) - leaving(points, owner, founder);
    owner[founder] = free;
    for _ in 0..10 {
        let mut stirred = Vec::new();
        for &x in members {
            let to = if owner[x] == c { free } else { c };
            rise += improve(points, owner, (x, to), &mut stirred);
        }
        if stirred.is_empty() {
            break;
        }
    }
    rise
}

fn improve(points: &Points, owner: &mut Owner, (x, to): (usize, usize), stirred: &mut Vec<usize>) -> f64 {
    if owner[x] == to || owner.iter().filter(|&&c| c == owner[x]).count() < 2 {
        return 0.0;
    }
    let leaving = leaving(points, owner, x);
    let rise = joining(points, owner, (x, to)) - leaving;
    if rise >= -1e-9 * leaving {
        return 0.0;
    }
    stirred.extend([owner[x], to]);
    owner[x] = to;
    rise
}

fn leaving(points: &Points, owner: &Owner, x: usize) -> f64 {
    let n = count(owner, owner[x]);
    if n < 2.0 { 0.0 } else { n / (n - 1.0) * distance(points, owner, (x, owner[x])) }
}

fn joining(points: &Points, owner: &Owner, (x, c): (usize, usize)) -> f64 {
    let n = count(owner, c);
    if n == 0.0 { 0.0 } else { n / (n + 1.0) * distance(points, owner, (x, c)) }
}

fn silhouette(points: &Points, owner: &Owner, x: usize) -> f64 {
    let k = owner.iter().max().map_or(0, |c| c + 1);
    let used = (0..k).filter(|c| owner.contains(c));
    let all: Vec<_> = used.map(|c| (c, 1.0, weighted(points, owner, c).2)).collect();
    let other = nearest(&single(points, x), owner[x], &all);
    if other == usize::MAX || count(owner, owner[x]) < 2.0 {
        return 0.0;
    }
    let [a, b] = [owner[x], other].map(|c| distance(points, owner, (x, c)).sqrt());
    if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
}

fn count(owner: &Owner, c: usize) -> f64 {
    owner.iter().filter(|&&own| own == c).count() as f64
}

fn inertia(points: &Points, owner: &Owner) -> f64 {
    (0..owner.len()).map(|x| distance(points, owner, (x, owner[x]))).sum()
}

fn centre(points: &Points, owner: &Owner, c: usize) -> Vec<f64> {
    let members: Vec<usize> = (0..owner.len()).filter(|&x| owner[x] == c).collect();
    let sum = |d: usize| members.iter().map(|&x| i64::from(points.row(x)[d])).sum::<i64>();
    (0..points.dims()).map(|d| sum(d) as f64 / members.len().max(1) as f64).collect()
}

fn distance(points: &Points, owner: &Owner, (x, c): (usize, usize)) -> f64 {
    distance2(points.row(x), &centre(points, owner, c))
}

fn distance2(row: &[i32], centre: &[f64]) -> f64 {
    lanes(row.iter().zip(centre).map(|(&x, c)| (f64::from(x) - c) * (f64::from(x) - c)))
}

/// The sum in the order of eight lanes that the search uses, too; the rest is added at the end.
fn lanes(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    let full = values.len() / 8 * 8;
    let lane = |i: usize| values[..full].iter().skip(i).step_by(8).sum::<f64>();
    let pair = |i: usize| lane(i) + lane(i + 4);
    (pair(0) + pair(2)) + (pair(1) + pair(3)) + values[full..].iter().sum::<f64>()
}

fn single(points: &Points, x: usize) -> Vec<f32> {
    points.row(x).iter().map(|&x| (f64::from(x) / UNIT) as f32).collect()
}

fn weighted(points: &Points, owner: &Owner, c: usize) -> (usize, f32, Vec<f32>) {
    let n = count(owner, c) as f32;
    (c, n / (n + 1.0), centre(points, owner, c).iter().map(|x| (x / UNIT) as f32).collect())
}

/// The column with the least weighted distance, the first of equals, not `skip`; `usize::MAX` if none.
fn nearest(row: &[f32], skip: usize, columns: &[(usize, f32, Vec<f32>)]) -> usize {
    let mut best = (f32::INFINITY, usize::MAX);
    for (c, weight, centre) in columns.iter().filter(|column| column.0 != skip) {
        let score = weight * half(row, centre);
        best = if score < best.0 { (score, *c) } else { best };
    }
    best.1
}

/// Half of the squared distance.
fn half(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0, |sum, (x, y)| sum + x * y);
    (dot(a, a) * 0.5 + dot(b, b) * 0.5) - dot(a, b)
}
