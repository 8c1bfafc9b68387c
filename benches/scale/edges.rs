//! From innovations to edges: from the normal scores of all VMs to the pairs that are significant at the same moment. Moments,
//! vectors, nulls, all products, judging; lags are counted in the whole.

use std::thread;
use std::time::{Duration, Instant};

use lwt::coupling::compare::Nulls;
use lwt::coupling::moments::{Moments, Sums};
use lwt::coupling::search::{self, Block};
use lwt::coupling::{Params, Seen, vector};
use lwt::simd::Simd;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// VMs of an ensemble, half of whose variance is what they share.
const MEMBERS: usize = 5;

/// Prints Markdown.
pub fn print() {
    println!("| VMs | samples | values | one core | two cores | CPU time of each of two | edges |");
    println!("|---|---|---|---|---|---|---|");
    for (vms, samples, period_ms) in [(10_000, 300, 1000), (10_000, 3000, 100), (100_000, 300, 1000)] {
        let hop = samples / 5;
        let params = Params::new(period_ms, samples, hop, 0.01).expect("a window").without_lags();
        let scores = scores(vms, params.values());
        let (mut times, mut cpu, mut edges) = ([vec![], vec![]], vec![], 0);
        for _ in 0..if vms > 10_000 { 1 } else { 5 } {
            for (i, cores) in [1, 2].into_iter().enumerate() {
                let (start, before) = (Instant::now(), cpu_time());
                edges = found(&scores, &params, cores);
                times[i].push(start.elapsed());
                if cores == 2 {
                    cpu.push((cpu_time() - before) / 2);
                }
            }
        }
        assert!(edges > vms, "{edges} were found");
        let [one, two] = times;
        let [one, two, cpu] = [one, two, cpu].map(super::median).map(|time: Duration| time.as_secs_f64());
        let values = params.values();
        println!(
            "| {vms} | {samples} x {period_ms} ms | {values} | {one:.2} s | {two:.2} s | {cpu:.2} s | {edges} |"
        );
    }
}

/// The CPU time that this process has used, to 10 ms: what counts where others use the cores too; 0 where there is no /proc.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or("").split(' ').skip(12).take(2);
    Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

/// Rounded normal scores as it were: each the sum of four uniform draws, spread 32, two of them the ensemble's.
fn scores(vms: usize, values: usize) -> Vec<Vec<i8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut all = vec![];
    let pair = |bytes: u32| (bytes & 0xff) as i32 + (bytes >> 8 & 0xff) as i32;
    while all.len() < vms {
        let shared: Vec<i32> = (0..values).map(|_| pair(rng.next_u32())).collect();
        for _ in 0..MEMBERS.min(vms - all.len()) {
            let mut score =
                |shared: &i32| ((shared + pair(rng.next_u32()) - 510) * 32 / 148).clamp(-127, 127) as i8;
            all.push(shared.iter().map(&mut score).collect());
        }
    }
    all
}

/// How many pairs are significant, found by so many cores, one or two.
fn found(scores: &[Vec<i8>], params: &Params, cores: usize) -> usize {
    let (vms, simd) = (scores.len(), Simd::detect());
    let parts: Vec<&[Vec<i8>]> = scores.chunks(vms.div_ceil(cores)).collect();
    let mut park = Sums::default();
    each(&parts, |part| {
        let mut sums = Sums::default();
        part.iter().for_each(|scores| sums.add(Seen::fine(scores), 1, params));
        sums
    })
    .iter()
    .for_each(|sums| park.merge(sums));
    let moments = Moments::new(park, params);
    let weigh = |scores: &Vec<i8>| vector::vector((scores, 1), &moments, None, params);
    let vectors = each(&parts, |part| part.iter().map(weigh).collect::<Vec<Vec<i8>>>());
    let vectors: Vec<Vec<&[i8]>> =
        vectors.iter().map(|part| part.iter().map(Vec::as_slice).collect()).collect();
    let sample: Vec<Seen<'_>> = vectors[0].iter().map(|vector| Seen::fine(vector)).collect();
    let nulls = Nulls::new(&sample, vms, params, simd);
    let search = |left, right: Option<&[&[i8]]>| {
        let candidates = search::candidates(Block { left, right }, vms, &nulls, params, simd);
        let right = right.unwrap_or(left);
        fn seen<'a>(of: &[&'a [i8]], at: u32) -> Seen<'a> {
            Seen::fine(of[at as usize])
        }
        let z = |(i, j): &(u32, u32)| nulls.judge(seen(left, *i), seen(right, *j), false, params).z;
        candidates.iter().filter(|pair| z(pair).abs() >= nulls.significance().threshold()).count()
    };
    let [a, b] = match &vectors[..] {
        [all] => return search(all, None),
        two => [&two[0][..], &two[1][..]],
    };
    // Each core has one half's own pairs, and half of those between the two.
    let (low, high) = a.split_at(a.len() / 2);
    each(&[(a, low, b), (b, high, b)], |(own, some, others)| search(own, None) + search(some, Some(others)))
        .iter()
        .sum()
}

/// What `of` makes of each of some things, each on a core of its own.
fn each<T: Copy + Send + Sync, R: Send>(things: &[T], of: impl Fn(T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let threads: Vec<_> = things.iter().map(|thing| scope.spawn(|| of(*thing))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}
