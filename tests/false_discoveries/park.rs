//! Parks whose truth is known because they were put together: recorded VMs, or whole ensembles of them, each at a
//! time of its own.

use std::rc::Rc;

use lwt::coupling::compare::{Judged, Nulls};
use lwt::coupling::search::{self, Block};
use lwt::coupling::{Params, Scale, Seen};
use lwt::simd::Simd;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::recorded::{Library, Recorded, Row};

/// What was recorded less than this apart on one machine may have something in common: lags are looked at up to 5 s.
const APART_MS: i64 = 15_000;

/// A VM's own past is no stranger as far back as its models reach, ten bins of 5 s, or its work is repeated (the recorded
/// cron jobs: every 20 s).
const OWN_MS: i64 = 60_000;

/// Surrogates are made of pieces so long: bursts, echoes and what is done every 20 or 30 s stay as they are.
const PIECE_MS: u64 = 60_000;

/// So often a time is drawn that is apart from all others.
const DRAWS: usize = 30;

/// A larger park has no such times.
const FEW: usize = 128;

/// One VM of a park.
pub struct Member<'a> {
    pub row: &'a Row,
    recording: usize,
    pub vector: Vec<i8>,
    /// Ticks of a sample.
    grain: usize,
    /// When each value of the vector was recorded.
    when_ms: Rc<Vec<i64>>,
}

/// What is true of two members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    /// They share an ensemble, and their time.
    Dependent,
    /// They have nothing to do with each other.
    Independent,
    /// Of different ensembles, but some of it was recorded at the same time on one machine.
    Neighbours,
    /// Of one ensemble at nearly the same time, of two that share a member, or a VM and its own past.
    Unclear,
}

/// A park of `vms`, each VM at a time of its own, the pieces of its window in an order of its own: with times alone the
/// same few coincidences of the recordings would come again in park after park.
pub fn strangers<'a>(library: &'a Library, rng: &mut ChaCha8Rng, vms: usize) -> Vec<Member<'a>> {
    assemble(library, rng, vms, Kind::Strangers)
}

/// A park of `vms`, each ensemble at a time of its own.
pub fn ensembles<'a>(library: &'a Library, rng: &mut ChaCha8Rng, vms: usize) -> Vec<Member<'a>> {
    assemble(library, rng, vms, Kind::Ensembles)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Strangers,
    Ensembles,
}

fn assemble<'a>(library: &'a Library, rng: &mut ChaCha8Rng, vms: usize, kind: Kind) -> Vec<Member<'a>> {
    let mut park: Vec<Member<'a>> = vec![];
    while park.len() < vms {
        let mut draw = 0;
        let drawn = loop {
            draw += 1;
            let drawn = members(library, rng, kind);
            let near = |other: &Member<'_>| drawn.iter().any(|one| one.is_near(other));
            if vms > FEW || draw > DRAWS || !park.iter().any(near) {
                break drawn;
            }
        };
        park.extend(drawn.into_iter().take(vms - park.len()));
    }
    park
}

/// One VM, or one ensemble, at a time that is drawn.
fn members<'a>(library: &'a Library, rng: &mut ChaCha8Rng, kind: Kind) -> Vec<Member<'a>> {
    let params = &library.params;
    let window = &library.windows[rng.random_range(0..library.windows.len())];
    let drawn = &window.rows[rng.random_range(0..window.rows.len())];
    let pieces = if kind == Kind::Strangers { pieces(params, rng) } else { vec![] };
    let coarsest = params.scales().last().unwrap();
    let late_ms = rng.random_range(0..coarsest.values() as u64) * coarsest.bin_ms;
    let when_ms = Rc::new(moved(&recorded_ms(window, params), &pieces, late_ms, params));
    let with = |row: &&Row| match kind {
        Kind::Strangers => std::ptr::eq(*row, drawn),
        Kind::Ensembles => row.group == drawn.group,
    };
    let member = |row: &'a Row| Member {
        row,
        recording: window.recording,
        vector: moved(&row.vector, &pieces, late_ms, params),
        grain: 1,
        when_ms: when_ms.clone(),
    };
    window.rows.iter().filter(with).map(member).collect()
}

/// An order of the pieces that a window has of every scale, counted from its end.
fn pieces(params: &Params, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let lengths_ms = params.scales().iter().map(|scale| scale.values() as u64 * scale.bin_ms);
    let mut pieces: Vec<usize> = (0..(lengths_ms.min().unwrap() / PIECE_MS) as usize).collect();
    for i in (1..pieces.len()).rev() {
        pieces.swap(i, rng.random_range(0..=i));
    }
    pieces
}

/// Some values of a vector's length with the pieces of each scale in this order, and then so much later, what goes over
/// its end at its beginning.
fn moved<T: Copy>(values: &[T], pieces: &[usize], late_ms: u64, params: &Params) -> Vec<T> {
    let mut moved = values.to_vec();
    for scale in params.scales() {
        let (from, to) = (&values[scale.range()], &mut moved[scale.range()]);
        let bins = (PIECE_MS / scale.bin_ms) as usize;
        let piece = |i: usize| from.len() - (i + 1) * bins..from.len() - i * bins;
        for (i, &other) in pieces.iter().enumerate() {
            to[piece(i)].copy_from_slice(&from[piece(other)]);
        }
        to.rotate_right((late_ms / scale.bin_ms) as usize % from.len());
    }
    moved
}

/// When each value of a window's vectors was recorded: every scale ends with the window.
fn recorded_ms(window: &Recorded, params: &Params) -> Vec<i64> {
    let at = |scale: &Scale| {
        let (bin_ms, first) = (scale.bin_ms as i64, (scale.bins - scale.values()) as i64);
        let start_ms = window.start_ms;
        (0..scale.values() as i64).map(move |i| start_ms + (first + i) * bin_ms).collect::<Vec<i64>>()
    };
    params.scales().iter().flat_map(at).collect()
}

/// Puts every VM of a park, whose order is by lot, whose place in it is below `share` on a host that samples every `grain` ticks: at
/// the scales in which it then takes part it says what it said before.
pub fn coarsen(park: &mut [Member<'_>], (share, grain): (f64, usize), params: &Params) {
    let coarse = (park.len() as f64 * share).round() as usize;
    for member in &mut park[..coarse] {
        member.grain = grain;
        for scale in params.scales().iter().filter(|scale| !scale.ticks.is_multiple_of(grain)) {
            member.vector[scale.range()].fill(0);
        }
    }
}

impl Member<'_> {
    fn seen(&self) -> Seen<'_> {
        Seen { values: &self.vector, grain: self.grain }
    }

    /// Whether any of what stands at the same place of both vectors was recorded at nearly the same time.
    fn is_near(&self, other: &Member<'_>) -> bool {
        let apart_ms = if self.row.vm == other.row.vm { OWN_MS } else { APART_MS };
        let near = |(a, b): (&i64, &i64)| (a - b).abs() < apart_ms;
        self.recording == other.recording && self.when_ms.iter().zip(other.when_ms.iter()).any(near)
    }

    pub fn truth(&self, other: &Member<'_>) -> Truth {
        let shared = self.row.ensembles.iter().any(|name| other.row.ensembles.contains(name));
        if !self.is_near(other) {
            Truth::Independent
        } else if self.row.group != other.row.group {
            Truth::Neighbours
        } else if self.when_ms == other.when_ms && shared && self.row.vm != other.row.vm {
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
    let seen: Vec<Seen<'_>> = park.iter().map(Member::seen).collect();
    let nulls = Nulls::new(&seen, park.len(), params, Simd::detect());
    let block = Block { left: &vectors, right: None };
    let candidates = search::candidates(block, park.len(), &nulls, params, Simd::detect());
    let threshold = nulls.significance().threshold();
    let judge = |(i, j): (u32, u32)| {
        let (i, j) = (i as usize, j as usize);
        (i, j, nulls.judge(seen[i], seen[j], true, params))
    };
    Found { pairs: candidates.into_iter().map(judge).collect(), threshold }
}
