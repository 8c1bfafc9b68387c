//! Real VMs to make parks of: the vector of every recorded VM in every window of the recordings, its moments
//! weighed by the park that it was recorded in.

use std::collections::BTreeMap;
use std::path::Path;

use lwt::coupling::voices::{self, Voter};
use lwt::coupling::{ORDER, Params, Seen, scores, vector};
use lwt::simd::Simd;
use lwt::transport::file::{Batch, Options, Progress, Trace};
use lwt::types::{HostId, Samples, VmId};
use lwt::window::{self, Shape, Status, VmWindow};

/// How recordings are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub period_ms: u64,
    /// Ticks of a window.
    pub length: usize,
    /// Ticks between two windows.
    pub hop: usize,
}

/// One VM in one window.
pub struct Row {
    pub vm: String,
    /// It shares an ensemble, directly or over others, with all of the same group, of any recording.
    pub group: usize,
    /// Its ensembles.
    pub ensembles: Vec<String>,
    /// Made by `coupling::vector`, of innovations that begin `start_ms` after the recording.
    pub vector: Vec<i8>,
}

/// One window of one recording.
pub struct Recorded {
    pub recording: usize,
    pub start_ms: i64,
    pub rows: Vec<Row>,
}

/// All of them.
pub struct Library {
    pub params: Params,
    pub windows: Vec<Recorded>,
}

/// The recordings with known truth.
const NAMES: [&str; 4] = ["mix-a", "hub-a", "cycle-a", "hard-a"];

impl Library {
    /// Of the recordings in `folder`, with promises at a false discovery rate of 1 %.
    pub fn new(folder: &Path, look: Look) -> Self {
        let params = Params::new(look.period_ms, look.length, look.hop, 0.01).unwrap();
        let mut windows = vec![];
        let mut groups = 0;
        for (recording, name) in NAMES.iter().enumerate() {
            let of = truth(&std::fs::read_to_string(folder.join(format!("{name}.truth.csv"))).unwrap());
            let trace = folder.join(format!("{name}.csv.gz"));
            let (recorded, more) = record(&trace, look, &params, &of);
            for (start_ms, mut rows) in recorded {
                rows.iter_mut().for_each(|row| row.group += groups);
                windows.push(Recorded { recording, start_ms, rows });
            }
            groups += more;
        }
        Library { params, windows }
    }
}

/// The group and the ensembles of a VM.
type Known = BTreeMap<String, (usize, Vec<String>)>;

/// Who shares ensembles with whom.
fn truth(text: &str) -> Known {
    let rows: Vec<(String, Vec<String>)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split(',');
            let vm = cells.next().unwrap().to_string();
            let ensembles = cells.next().unwrap().split('|').filter(|name| !name.is_empty());
            let own = format!("{vm} alone");
            let names: Vec<String> = ensembles.map(str::to_string).chain([own]).collect();
            (vm, names)
        })
        .collect();
    // Rows that share a name get the smaller number, until nothing changes.
    let mut groups: Vec<usize> = (0..rows.len()).collect();
    loop {
        let before = groups.clone();
        for i in 0..rows.len() {
            for j in 0..rows.len() {
                if rows[i].1.iter().any(|name| rows[j].1.contains(name)) {
                    groups[i] = groups[i].min(groups[j]);
                }
            }
        }
        if groups == before {
            return rows.into_iter().zip(groups).map(|((vm, names), group)| (vm, (group, names))).collect();
        }
    }
}

/// The windows of one recording: when each begins, and what its VMs did; and how many groups there may be.
fn record(trace: &Path, look: Look, params: &Params, truth: &Known) -> (Vec<(i64, Vec<Row>)>, usize) {
    let options = Options { period_ms: Some(look.period_ms), ..Options::default() };
    let mut trace = Trace::open(trace, options).unwrap();
    let (mut samples, mut batch) = (vec![], Batch::default());
    while trace.read(&mut batch).unwrap() == Progress::More {
        samples.append(&mut batch.samples);
    }
    samples.append(&mut batch.samples);
    let ends = |one: &Samples| one.first + one.cpu_ppm.len() as i64;
    let (first, end) =
        (samples.iter().map(|one| one.first).min().unwrap(), samples.iter().map(ends).max().unwrap());
    let shape = Shape { scales: params.scale_ticks(), ..Shape::new(look.length, look.hop, ORDER) };
    let shape = window::Params::new(Shape { origin: first, ..shape }).unwrap();
    let (mut vms, host) = (BTreeMap::<VmId, VmWindow>::new(), HostId::new("h"));
    for Samples { vm, first, cpu_ppm, .. } in &samples {
        let window = vms.entry(vm.clone()).or_insert_with(|| VmWindow::new(-1));
        window.push(&shape, &host, *first, cpu_ppm);
    }
    let panes = (end - first) / look.hop as i64;
    let mut windows = vec![];
    for pane in 0..panes {
        let start = (pane + 1) * look.hop as i64 - look.length as i64;
        let rows = judge(&mut vms, &shape, pane, params, start >= 0);
        let rows = rows.into_iter().filter_map(|(vm, vector)| {
            let (group, ensembles) = truth.get(&vm)?.clone();
            Some(Row { vm, group, ensembles, vector })
        });
        if start >= 0 {
            windows.push((start * look.period_ms as i64, rows.collect()));
        }
    }
    (windows, truth.len())
}

/// The vectors of the VMs that do something in the window that ends with `pane`, if they are `wanted`.
fn judge(
    vms: &mut BTreeMap<VmId, VmWindow>,
    shape: &window::Params,
    pane: i64,
    params: &Params,
    wanted: bool,
) -> Vec<(String, Vec<i8>)> {
    let simd = Simd::detect();
    let mut scored = vec![];
    for (vm, window) in vms {
        if window.close(shape, pane, simd) == Status::Whole && wanted {
            scored.push((vm.as_str().to_string(), scores::scores(window, params, simd)));
        }
    }
    let voters: Vec<Voter<'_>> =
        scored.iter().map(|(_, scores)| Voter { scores: Seen::fine(scores), host: None }).collect();
    let votes = voices::votes(&voters, params, simd);
    let moments = voices::moments(&voters, &votes, params);
    let vector = |((vm, scores), vote): (&(String, Vec<i8>), &u32)| {
        (vm.clone(), vector::vector((scores, *vote), &moments, None, params))
    };
    scored.iter().zip(&votes).map(vector).collect()
}
