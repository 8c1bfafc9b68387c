//! A flow over a log that is stopped and started again, with another number of workers, says the same as one that
//! never stopped; and keeps the same.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lwt::cluster::{self, Clusters};
use lwt::coupling;
use lwt::decisions::record::{Decision, Entry, What};
use lwt::dependencies::{Evidence, Fact, Hysteresis, State};
use lwt::model::{Fit, Order};
use lwt::perturb::record::Verdict;
use lwt::perturb::verdict::{Finding, Judgement, Open};
use lwt::pipeline::kept::{Kept, Last, Restored, of_published};
use lwt::pipeline::watchdog::Pulse;
use lwt::pipeline::{self, Failure, Message, Method, Plan, RunError, Service, Tail};
use lwt::simd::Simd;
use lwt::simulate::{Params, Reading, Simulator};
use lwt::transport::kafka::source::Batch;
use lwt::transport::told::Told;
use lwt::types::{DeadLetter, Reason, Samples, VmId};
use lwt::window::{self, Shape};

const HOP: i64 = 60;
const PANES: i64 = 5;

/// What each pane of the log holds, and the number of the first one; and what is told, each thing with its pane.
struct Log {
    first: u64,
    panes: Vec<Vec<Samples>>,
    told: Vec<Told>,
    decided: Vec<Told>,
}

/// The same as of a park of which some hosts sample every five seconds only.
fn coarsened(log: Log) -> Log {
    let is_coarse = |run: &Samples| run.host.as_str().ends_with(['1', '3', '5', '7', '9']);
    let coarse = |pane: Vec<Samples>| -> Vec<Samples> {
        let (coarse, mut fine): (Vec<Samples>, Vec<Samples>) = pane.into_iter().partition(is_coarse);
        let mut fives = BTreeMap::<_, Vec<u32>>::new();
        for run in coarse {
            let Samples { vm, host, first, cpu_ppm, .. } = run;
            fives.entry((first.div_euclid(5) * 5, vm, host)).or_default().extend(cpu_ppm);
        }
        for ((first, vm, host), values) in fives {
            let cpu_ppm = vec![values.iter().sum::<u32>() / 5];
            fine.extend((values.len() == 5).then_some(Samples { vm, host, first, grain: 5, cpu_ppm }));
        }
        fine
    };
    Log { panes: log.panes.into_iter().map(coarse).collect(), ..log }
}

fn log(minutes: usize) -> Log {
    let start_ms = 1_700_000_040_000;
    let params = Params { vms: 24, seed: 5, period_ms: 1000, start_ms, churn_per_hour: 3.0 };
    let mut simulator = Simulator::new(params).unwrap();
    let mut readings: Vec<Reading> = vec![];
    let mut panes = vec![];
    for _ in 0..minutes {
        let mut pane = vec![];
        for _ in 0..HOP {
            let end_ms = simulator.tick(&mut readings);
            pane.extend(readings.iter().map(|reading| simulator.sample(*reading, end_ms)));
        }
        // Told twice now and then, which a window refuses: also one that is only read again.
        if panes.len() % 4 == 2 {
            pane.push(pane[0].clone());
        }
        panes.push(pane);
    }
    let first = (start_ms / 1000 / HOP) as u64;
    let (told, decided) = (told(&panes[0], first), decided(&panes[0], first));
    Log { first, panes, told, decided }
}

/// Verdicts on the VMs of some samples: two that have nothing to do with each other are confirmed, which ends three windows
/// later; all that the first one might depend on is refuted; something is no verdict, and something nothing at all.
fn told(samples: &[Samples], first: u64) -> Vec<Told> {
    let vms: Vec<&VmId> = samples.iter().map(|run| &run.vm).collect::<BTreeSet<_>>().into_iter().collect();
    let (one, last) = (vms[0], vms[vms.len() - 1]);
    let verdict = |cause: &VmId, vm: &VmId, finding| {
        let judgement = Judgement { verdict: finding, open: None, ..Judgement::open(Open::Noise) };
        serde_json::to_vec(&Verdict::new(cause.clone(), vm.clone(), 0.01, judgement, 0)).unwrap()
    };
    let told = |pane: u64, windows: u64, bytes: Vec<u8>| Told {
        key: vec![],
        bytes,
        origin: format!("told {pane}"),
        from: first + pane,
        until: first + pane + windows,
    };
    let mut all = vec![
        told(7, 3, verdict(one, last, Finding::Confirmed)),
        told(9, 99, b"{}".to_vec()),
        told(9, 99, br#"{"v":1,"serial":1,"host":"h","vm":"a","at_ms":1,"done":"accepted"}"#.to_vec()),
        told(16, 99, verdict(last, one, Finding::Confirmed)),
    ];
    for vm in &vms[1..] {
        all.extend([(one, *vm), (*vm, one)].map(|(a, b)| told(12, 3, verdict(a, b, Finding::Refuted))));
    }
    all
}

/// Decisions on the VMs of some samples: the second one is ignored for five windows, the third one and the last but one are
/// confirmed for good; something is no decision.
fn decided(samples: &[Samples], first: u64) -> Vec<Told> {
    let vms: Vec<&VmId> = samples.iter().map(|run| &run.vm).collect::<BTreeSet<_>>().into_iter().collect();
    let decided = |pane: u64, entry: &Entry| Told {
        key: entry.about.key().into_bytes(),
        bytes: entry.value().unwrap_or_default(),
        origin: format!("decided {pane}"),
        from: first + pane,
        until: first + pane,
    };
    let made = |what| Entry::made(Decision::new(what, "w", None, 0).unwrap());
    let ignored = made(What::Ignored { vm: vms[1].clone() });
    let confirmed = made(What::Confirmed { a: vms[2].clone(), b: vms[vms.len() - 2].clone() });
    let nothing = Told { key: b"{}".to_vec(), ..decided(9, &ignored) };
    vec![
        decided(8, &ignored),
        nothing,
        decided(13, &Entry::undone(ignored.about.clone())),
        decided(14, &confirmed),
    ]
}

fn coupling() -> Plan {
    let params = coupling::Params::new(1000, (HOP * PANES) as usize, HOP as usize, 0.01).unwrap();
    let shape = Shape {
        scales: params.scale_ticks(),
        ..Shape::new((HOP * PANES) as usize, HOP as usize, coupling::ORDER)
    };
    plan(Method::Coupling(params), shape)
}

fn kmeans() -> Plan {
    let cluster = cluster::Params::new(Clusters::Fixed(6), None, 1).unwrap();
    let method = Method::Kmeans { order: Order::Fixed(20), fit: Fit::YuleWalker, cluster };
    plan(method, Shape::new((HOP * PANES) as usize, HOP as usize, 20))
}

fn plan(method: Method, shape: Shape) -> Plan {
    Plan {
        method,
        window: window::Params::new(shape).unwrap(),
        hysteresis: Hysteresis::new(2, 3).unwrap(),
        aligned: true,
        workers: 1,
        simd: Simd::detect(),
        watch: None,
        decisions: Default::default(),
        listens: false,
        resume: None,
    }
}

/// One worker's VMs, pane by pane from where the plan goes on; each pane with a dead letter.
fn tail(log: Arc<Log>, (worker, workers): (usize, usize), plan: &Plan) -> Tail {
    let done = plan.resume.as_ref().unwrap().last().map(|last| last.pane);
    let last = done.map(|last| last as i64 + 2 - 2 * PANES);
    let mut pane = last.map_or(0, |first| (first - log.first as i64).max(0)) as usize;
    Box::new(move |batch: &mut Batch| {
        batch.clear();
        let samples = log.panes.get(pane).ok_or("the log ends")?;
        let ours = samples.iter().filter(|run| run.vm.as_str().len() % workers == worker);
        batch.samples.extend(ours.cloned());
        let open = log.first + pane as u64;
        let letter = DeadLetter { reason: Reason::Malformed, origin: format!("{open}"), bytes: vec![] };
        batch.dead.extend((worker == 0).then_some((letter, open)));
        let now = |told: &&Told| worker == 0 && told.from == open && done.is_none_or(|done| open > done);
        batch.told.extend(log.told.iter().filter(now).cloned());
        batch.decided.extend(log.decided.iter().filter(now).cloned());
        pane += 1;
        batch.open = open + 1;
        Ok(())
    })
}

type Kepts = BTreeMap<String, Vec<u8>>;
/// The end of a window, what changed, and what was refused.
type Said = (i64, Vec<(Fact, isize)>, Vec<String>);

/// Runs `windows` windows from where `kept` says, and takes in what is to be kept.
fn run(log: &Arc<Log>, plan: &Plan, windows: usize, kept: &mut Kepts) -> Vec<Said> {
    let (before, log) = (kept.clone(), log.clone());
    let service = Service {
        load: Box::new(move || -> Result<Restored, Failure> { Ok(Restored::new(&before)?) }),
        tail: Box::new(move |share, plan| -> Result<Tail, Failure> { Ok(tail(log.clone(), share, plan)) }),
        processes: None,
        patience: Duration::from_secs(60),
        pulse: Arc::new(Pulse::new(plan.workers)),
        stop: Box::new(|| false),
    };
    let (mut said, mut state) = (vec![], State::default());
    let done = pipeline::serve(plan, service, |message| match message {
        Message::Restored(restored) => {
            state = restored.state();
            Ok(())
        }
        Message::Window(window) => {
            state.apply(&window.changes);
            // As whoever publishes does.
            for (key, bytes) in window.kept.into_iter().chain(of_published(&window.changes, &state)) {
                match bytes {
                    Some(bytes) => drop(kept.insert(key, bytes.into_bytes())),
                    None => assert!(kept.remove(&key).is_some(), "{key} was not there"),
                }
            }
            let last = Last { pane: (window.end / HOP - 1) as u64, settings: String::new() };
            let (key, bytes) = Kept::Last(last).entry();
            kept.insert(key, bytes.into_bytes());
            let refused = window.summary.refused.into_iter().map(|letter| letter.origin);
            said.push((window.end, window.changes, refused.collect()));
            if said.len() == windows { Err(RunError::Worker("enough".into())) } else { Ok(()) }
        }
        Message::Broken(error) => Err(RunError::Worker(error.to_string())),
        _ => Ok(()),
    });
    assert_eq!(done.unwrap_err().to_string(), "a worker failed: enough");
    said
}

fn check(plan: Plan, log: Log) {
    let log = Arc::new(log);
    let mut whole = Kepts::new();
    let undisturbed = run(&log, &plan, 24, &mut whole);
    let pairs = |said: &[Said]| {
        let facts = said.iter().flat_map(|(_, changes, _)| changes);
        facts.filter(|(fact, _)| matches!(fact, Fact::Pair(..))).count()
    };
    assert!(pairs(&undisturbed) > 10, "something happens");
    assert!(pairs(&undisturbed[10..]) > 0, "also later");
    let asked = |diff: isize| {
        let is = move |(fact, d): &(Fact, isize)| {
            matches!(fact, Fact::Pair(_, _, Some(Evidence { asked: Some(_), .. }))) && *d == diff
        };
        let windows = undisturbed.iter().enumerate();
        windows.filter(|(_, (_, changes, _))| changes.iter().any(is)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!((asked(1)[0], asked(-1)[0]), (7, 11), "a verdict counts from one window to another");
    assert!(asked(1).contains(&16), "{:?}", asked(1));
    assert_eq!(
        undisturbed[9].2,
        [(log.first + 9).to_string(), "decided 9".into(), "told 9".into()],
        "what is no record is refused"
    );
    let decided = |is: fn(&Fact) -> bool, diff: isize| {
        let changed = |(_, changes, _): &Said| changes.iter().any(|(fact, d)| is(fact) && *d == diff);
        undisturbed.iter().position(changed)
    };
    let ignored = |fact: &Fact| matches!(fact, Fact::Ignored(_));
    assert_eq!((decided(ignored, 1), decided(ignored, -1)), (Some(8), Some(13)));
    assert_eq!(decided(|fact| matches!(fact, Fact::Confirmed(..)), 1), Some(14));
    for stops in [vec![(1, 24)], vec![(2, 1), (1, 4), (3, 12), (2, 7)], vec![(4, 11), (1, 13)]] {
        let (mut said, mut kept) = (vec![], Kepts::new());
        for (workers, windows) in &stops {
            said.extend(run(&log, &Plan { workers: *workers, ..plan.clone() }, *windows, &mut kept));
        }
        for (one, other) in said.iter().zip(&undisturbed) {
            assert_eq!(one, other, "{stops:?}");
        }
        assert_eq!(said.len(), undisturbed.len());
        assert!(kept == whole, "{stops:?}: what is kept differs");
    }
}

#[test]
fn the_coupling_engine_goes_on_as_if_nothing_had_happened() {
    check(coupling(), log(26));
}

#[test]
fn so_it_does_where_hosts_sample_differently() {
    check(coupling(), coarsened(log(26)));
}

#[test]
fn so_does_k_means() {
    check(kmeans(), log(26));
}

#[test]
fn a_flow_that_stands_still_is_ended() {
    let (plan, log) = (Plan { workers: 2, ..coupling() }, Arc::new(log(26)));
    // The second worker's share hangs after three panes; the first has more, and waits.
    let open = move |(worker, workers): (usize, usize), plan: &Plan| -> Result<Tail, Failure> {
        let (mut share, mut panes) = (tail(log.clone(), (worker, workers), plan), 0);
        Ok(Box::new(move |batch: &mut Batch| {
            panes += 1;
            if worker == 1 && panes > 3 {
                // Whoever sends to a worker unparks it.
                loop {
                    std::thread::park();
                }
            }
            share(batch)
        }))
    };
    let service = Service {
        load: Box::new(|| Ok(Restored::new(&Kepts::new())?)),
        tail: Box::new(open),
        processes: None,
        patience: Duration::from_secs(2),
        pulse: Arc::new(Pulse::new(2)),
        stop: Box::new(|| false),
    };
    let ended = pipeline::serve(&plan, service, |message| match message {
        Message::Broken(error) => Err(RunError::Worker(error.to_string())),
        _ => Ok(()),
    });
    let said = ended.unwrap_err().to_string();
    assert!(said.contains("stood still for 2 s"), "{said}");
}
