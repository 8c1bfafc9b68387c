//! Parks whose truth is known because they were put together: recorded VMs, or whole ensembles of them, each at a
//! time of its own.

use lwt::coupling::Params;
use lwt::coupling::compare::{Judged, Nulls};
use lwt::coupling::search::{self, Block};
use lwt::simd::Simd;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::recorded::{Library, Row};

/// Vectors of one recording that are less than this apart may have what happened then in common; lags are looked at
/// up to 5 s, and models reach back ten bins.
const APART_MS: i64 = 15_000;

/// So often a time is drawn that is apart from all others; a large park has no such times.
const DRAWS: usize = 30;

/// One VM of a park.
pub struct Member<'a> {
    pub row: &'a Row,
    recording: usize,
    /// What is at the beginning of its vector was recorded then, but for what was turned round the end.
    begins_ms: i64,
    pub vector: Vec<i8>,
}

/// What is true of two members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    /// They share an ensemble, and their time.
    Dependent,
    /// They have nothing to do with each other.
    Independent,
    /// Of different ensembles, but recorded at the same time on one machine.
    Neighbours,
    /// Of one ensemble at nearly the same time, or of two that share a member.
    Unclear,
}

/// A park of `vms`, each VM at a time of its own.
pub fn strangers<'a>(library: &'a Library, rng: &mut ChaCha8Rng, vms: usize) -> Vec<Member<'a>> {
    assemble(library, rng, vms, |rows, at| vec![&rows[at]])
}

/// A park of `vms`, each ensemble at a time of its own.
pub fn ensembles<'a>(library: &'a Library, rng: &mut ChaCha8Rng, vms: usize) -> Vec<Member<'a>> {
    assemble(library, rng, vms, |rows, at| rows.iter().filter(|row| row.group == rows[at].group).collect())
}

fn assemble<'a>(
    library: &'a Library,
    rng: &mut ChaCha8Rng,
    vms: usize,
    who: fn(&'a [Row], usize) -> Vec<&'a Row>,
) -> Vec<Member<'a>> {
    let params = &library.params;
    let coarsest_ms = params.scales().iter().map(|scale| scale.bin_ms).max().unwrap();
    // No scale goes round more than once: `is_near` knows what was turned round its end once.
    let turns = rounds_ms(params).min().unwrap() as u64 / coarsest_ms;
    let mut park: Vec<Member<'a>> = vec![];
    while park.len() < vms {
        let mut draw = 0;
        let (rows, recording, begins_ms, late_ms) = loop {
            draw += 1;
            let window = &library.windows[rng.random_range(0..library.windows.len())];
            let late_ms = (rng.random_range(0..turns) * coarsest_ms) as i64;
            let rows = who(&window.rows, rng.random_range(0..window.rows.len()));
            let begins_ms = window.start_ms - late_ms;
            let near = |other: &Member<'_>| {
                other.recording == window.recording && is_near(begins_ms, other.begins_ms, params)
            };
            if draw > DRAWS || !park.iter().any(near) {
                break (rows, window.recording, begins_ms, late_ms);
            }
        };
        park.extend(rows.into_iter().take(vms - park.len()).map(|row| Member {
            row,
            recording,
            begins_ms,
            vector: turned(&row.vector, late_ms as u64, params),
        }));
    }
    park
}

/// `vector` so much later, what goes over its end at its beginning; each scale by itself.
fn turned(vector: &[i8], late_ms: u64, params: &Params) -> Vec<i8> {
    let mut turned = vector.to_vec();
    for scale in params.scales() {
        let values = &mut turned[scale.range()];
        let bins = (late_ms / scale.bin_ms) as usize % values.len();
        values.rotate_right(bins);
    }
    turned
}

/// Whether some of what is at the same place in two vectors was recorded at nearly the same time.
fn is_near(a_ms: i64, b_ms: i64, params: &Params) -> bool {
    std::iter::once(0).chain(rounds_ms(params)).any(|round| ((a_ms - b_ms).abs() - round).abs() < APART_MS)
}

/// How long each scale's part of a vector is.
fn rounds_ms(params: &Params) -> impl Iterator<Item = i64> + '_ {
    params.scales().iter().map(|scale| (scale.values() as u64 * scale.bin_ms) as i64)
}

impl Member<'_> {
    pub fn truth(&self, other: &Member<'_>, params: &Params) -> Truth {
        let near = self.recording == other.recording && is_near(self.begins_ms, other.begins_ms, params);
        let shared = self.row.ensembles.iter().any(|name| other.row.ensembles.contains(name));
        if !near {
            Truth::Independent
        } else if self.row.group != other.row.group {
            Truth::Neighbours
        } else if self.begins_ms == other.begins_ms && shared && self.row.vm != other.row.vm {
            Truth::Dependent
        } else {
            Truth::Unclear
        }
    }
}

/// What was found in a park: the candidates, as they were judged, and from which z on they are discoveries.
pub struct Found {
    pub pairs: Vec<(usize, usize, Judged)>,
    pub threshold: f64,
}

/// Searches a park as the pipeline does, as if each VM were on a host with a clock of its own.
pub fn search(park: &[Member<'_>], params: &Params) -> Found {
    let vectors: Vec<&[i8]> = park.iter().map(|member| &member.vector[..]).collect();
    let nulls = Nulls::new(&vectors, park.len(), params);
    let block = Block { left: &vectors, right: None };
    let candidates = search::candidates(block, park.len(), &nulls, params, Simd::detect());
    let threshold = nulls.significance().threshold();
    let judge = |(i, j): (u32, u32)| {
        let (i, j) = (i as usize, j as usize);
        (i, j, nulls.judge(vectors[i], vectors[j], true, params))
    };
    Found { pairs: candidates.into_iter().map(judge).collect(), threshold }
}
