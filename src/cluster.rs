//! tmp
mod nearest;
mod partition;
mod points;
mod search;
mod seeding;
use crate::simd::Simd;
pub use points::Points;
pub use seeding::TAKE;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
/// x
pub fn trial(points: &Points, k: usize, simd: Simd, seed: u64, log: &mut dyn FnMut(&str, f64)) {
    let u2 = points::UNIT * points::UNIT;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    log("begin", 0.0);
    let mut search = search::Search::new(points, simd);
    let seeds = seeding::seeds(search.rows(), k, &mut rng, simd);
    log("seeded", 0.0);
    let c: Vec<(u32, f32, Vec<f32>)> = seeds.iter().enumerate().map(|(i, &s)| (i as u32, 1.0, search.rows().row(s).to_vec())).collect();
    let which: Vec<u32> = (0..points.len() as u32).collect();
    let none = vec![nearest::NONE; points.len()];
    let owner = search.nearest((&which, &none), &c).to_vec();
    let mut p = partition::Partition::new(points, owner, k + 1);
    log("assigned", p.inertia() / u2);
    search.settle(&mut p);
    log("settled", p.inertia() / u2);
    for _ in 0..20 {
        let more = search.exchange_once(&mut p, k as u32);
        log("  exchanged", p.inertia() / u2);
        if !more { break; }
        search.settle(&mut p);
        log("settled", p.inertia() / u2);
    }
    assert_eq!(p.clusters().count(), k);
}
#[cfg(test)]
mod quick {
    use super::*;
    #[test] #[ignore]
    fn speed() {
        let b = std::fs::read("vectors.bin").unwrap();
        let v: Vec<f64> = b.chunks(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect();
        let rows: Vec<&[f64]> = v.chunks(100).collect();
        let points = Points::from_rows(&rows);
        for take in [1, 2, 3, 6] {
            TAKE.store(take, std::sync::atomic::Ordering::Relaxed);
            for seed in 0..3 {
                eprintln!("take {take} seed {seed}");
                let t = std::time::Instant::now();
                trial(&points, 340, Simd::detect(), seed, &mut |s, x| eprintln!("   {s} {x:.3} {:.2} ms", t.elapsed().as_secs_f64() * 1e3));
            }
        }
    }
}
