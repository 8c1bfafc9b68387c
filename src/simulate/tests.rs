//! What every simulated datacenter has to be: reproducible, bounded, believable, and dependent where it says so.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const PARAMS: Params =
    Params { vms: 120, seed: 42, period_ms: 1000, start_ms: 1_700_000_000_000, churn_per_hour: 0.0 };

fn readings(params: Params, ticks: usize) -> Vec<(i64, Vec<Reading>)> {
    let mut simulator = Simulator::new(params).unwrap();
    (0..ticks)
        .map(|_| {
            let mut out = Vec::new();
            (simulator.tick(&mut out), out)
        })
        .collect()
}

/// One series a VM; none may be down.
fn series(params: Params, ticks: usize) -> Vec<Vec<f64>> {
    let mut series = vec![Vec::new(); params.vms];
    for (_, tick) in readings(params, ticks) {
        for reading in tick {
            series[reading.vm as usize].push(f64::from(reading.cpu_ppm));
        }
    }
    series
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The correlation of `b` with `a` `lag` ticks earlier.
fn correlation(a: &[f64], b: &[f64], lag: usize) -> f64 {
    let (a, b) = (&a[..a.len() - lag], &b[lag..]);
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt().max(1e-9)
}

#[test]
fn parameters_out_of_bounds_are_refused() {
    let cases = [
        (Params { vms: 0, ..PARAMS }, ParamsError::Vms(0)),
        (Params { vms: MAX_VMS + 1, ..PARAMS }, ParamsError::Vms(MAX_VMS + 1)),
        (Params { period_ms: 9, ..PARAMS }, ParamsError::Period(9)),
        (Params { start_ms: -1, ..PARAMS }, ParamsError::Start(-1)),
        (Params { churn_per_hour: 61.0, ..PARAMS }, ParamsError::Churn(61.0)),
    ];
    for (params, error) in cases {
        assert_eq!(Simulator::new(params).err(), Some(error));
    }
    assert!(Params { churn_per_hour: f64::NAN, ..PARAMS }.check().is_err());
}

#[test]
fn the_seed_decides_and_a_longer_run_begins_the_same() {
    let params = Params { churn_per_hour: 30.0, ..PARAMS };
    let long = readings(params, 100);
    assert_eq!(readings(params, 50), long[..50]);
    assert_ne!(readings(Params { seed: 43, ..params }, 50), long[..50]);
}

#[test]
fn ticks_lie_on_the_grid() {
    let ends: Vec<i64> = readings(Params { period_ms: 300, ..PARAMS }, 3).iter().map(|tick| tick.0).collect();
    assert_eq!(ends, [1_700_000_000_100, 1_700_000_000_400, 1_700_000_000_700]);
}

#[test]
fn the_mix_is_that_of_a_real_park() {
    let simulator = Simulator::new(Params { vms: 10_000, ..PARAMS }).unwrap();
    for (app, share) in [("service", 0.60), ("batch", 0.15), ("stream", 0.10), ("loner", 0.15)] {
        let n = simulator.truth().iter().filter(|row| row.app == app).count() as f64;
        assert!((n / 10_000.0 - share).abs() < 0.01, "{app}: {n}");
    }
    let hosts = simulator.hosts().len();
    assert_eq!(hosts, 334);
    let ensembles: BTreeSet<&str> = simulator.truth().iter().map(|row| row.ensemble.as_str()).collect();
    // A chain or a cluster has all its VMs but one called by another.
    assert_eq!(simulator.edges().len(), 10_000 - ensembles.len());
}

#[test]
fn utilisation_is_believable() {
    let params = Params { vms: 1_000, ..PARAMS };
    let (mut cores, mut used) = (0.0, 0.0);
    for (vm, series) in Simulator::new(params).unwrap().vms.iter().zip(series(params, 300)) {
        cores += f64::from(vm.cores);
        used += mean(&series) / 1e6;
    }
    println!("utilisation {:.3}", used / cores);
    // Parks are used to 10 to 40 per cent of what their VMs may use.
    assert!((0.08..0.4).contains(&(used / cores)), "{}", used / cores);
}

#[test]
fn who_works_together_moves_together() {
    let truth = Simulator::new(PARAMS).unwrap().truth;
    let series = series(PARAMS, 600);
    let (mut within, mut between) = (Vec::new(), Vec::new());
    for a in 0..truth.len() {
        for b in a + 1..truth.len() {
            let r = correlation(&series[a], &series[b], 0).abs();
            if truth[a].ensemble == truth[b].ensemble { within.push(r) } else { between.push(r) }
        }
    }
    let (within, between) = (mean(&within), mean(&between));
    println!("within {within:.3}, between {between:.3}");
    assert!(within > 0.6 && between < 0.15, "within {within}, between {between}");
}

#[test]
fn the_end_of_a_chain_lags_at_a_fine_period() {
    let params = Params { period_ms: 100, ..PARAMS };
    let truth = Simulator::new(params).unwrap().truth;
    let series = series(params, 6_000);
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut later, mut chains) = (0, 0);
    for (vm, row) in truth.iter().enumerate().filter(|(_, row)| row.app == "service") {
        let front = *first.entry(&row.ensemble).or_insert(vm);
        if row.role == "db" {
            let ahead: f64 = (1..6).map(|lag| correlation(&series[front], &series[vm], lag)).sum();
            let behind: f64 = (1..6).map(|lag| correlation(&series[vm], &series[front], lag)).sum();
            later += usize::from(ahead > behind);
            chains += 1;
        }
    }
    assert!(chains > 10 && later * 10 > chains * 8, "{later} of {chains} chains lag");
}

#[test]
fn vms_stop_start_and_migrate() {
    let params = Params { churn_per_hour: 20.0, ..PARAMS };
    let (mut gone, mut back, mut moved) = (0, 0, 0);
    let mut last: BTreeMap<u32, u32> = (0..120).map(|vm| (vm, u32::MAX)).collect();
    for (_, tick) in readings(params, 900) {
        let now: BTreeMap<u32, u32> = tick.iter().map(|reading| (reading.vm, reading.host)).collect();
        gone += last.keys().filter(|vm| !now.contains_key(vm)).count();
        back += now.keys().filter(|vm| !last.contains_key(vm)).count();
        moved += now
            .iter()
            .filter(|(vm, host)| last.get(vm).is_some_and(|h| h != *host && *h != u32::MAX))
            .count();
        last = now;
    }
    // 120 VMs x 20 an hour x a quarter of an hour = 600 attempts, half of them stops.
    assert!((150..400).contains(&gone) && (100..400).contains(&back), "{gone} {back}");
    assert!((100..400).contains(&moved), "{moved}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_datacenter_is_whole_and_every_reading_in_bounds(
        vms in 1usize..200, seed: u64, period_ms in 10u32..20_000, churn_per_hour in 0.0..60.0,
    ) {
        let params = Params { vms, seed, period_ms, start_ms: 0, churn_per_hour };
        let simulator = Simulator::new(params).unwrap();
        let names: BTreeSet<&VmId> = simulator.truth().iter().map(|row| &row.vm).collect();
        prop_assert_eq!(names.len(), vms);
        let cores: Vec<u32> = simulator.vms.iter().map(|vm| u32::from(vm.cores)).collect();
        for (_, tick) in readings(params, 50) {
            prop_assert!(tick.is_sorted_by_key(|reading| reading.vm));
            for reading in tick {
                prop_assert!((reading.host as usize) < simulator.hosts().len());
                let bound = (cores[reading.vm as usize] * 1_000_000).min(MAX_CPU_PPM);
                prop_assert!((200..=bound).contains(&reading.cpu_ppm));
            }
        }
    }
}
