//! The models of windows of real recordings, against those of statsmodels; `data/statsmodels/make.py` made them.

#![allow(clippy::unwrap_used, reason = "a test")]

use lwt::model::{Ar, Fit, Order, fit, innovations};
use lwt::simd::Simd;
use lwt::types::HostId;
use lwt::window::{Params, Shape, Status, VmWindow};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// To 1e-8 of the number, or of `unit`.
fn assert_close(what: &str, found: &[f64], expected: &[f64], unit: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-8 * b.abs().max(unit), "{what}: {a} is not {b}");
    }
}

fn check(case: &Value, simd: Simd) {
    let cpu_ppm: Vec<u32> = numbers(&case["cpu_ppm"]).iter().map(|&x| x as u32).collect();
    let params = Params::new(Shape::new(300, 60, 45)).unwrap();
    let mut window = VmWindow::new(-1);
    assert_eq!(window.push(&params, &HostId::new("h"), 0, &cpu_ppm), []);
    assert_eq!(window.close(&params, 4, simd), Status::Whole);
    let view = window.view(0).unwrap();
    let what = format!("{} {} {}", case["recording"], case["vm"], case["start"]);
    for p in [2, 10, 45] {
        let Ar { phi, variance, .. } = fit(&view, Order::Fixed(p), Fit::YuleWalker, simd);
        let expected = &case[format!("yule_walker_{p}")];
        assert_close(&format!("{what} yule_walker {p}"), &phi, &numbers(&expected["phi"]), 1.0);
        assert_close(&what, &[variance.sqrt()], &[expected["sigma"].as_f64().unwrap()], 1.0);
    }
    for p in [2, 10] {
        let ar = fit(&view, Order::Fixed(p), Fit::LeastSquares, simd);
        let expected = &case[format!("autoreg_{p}")];
        let params: Vec<f64> = std::iter::once(ar.intercept).chain(ar.phi.iter().copied()).collect();
        assert_close(&format!("{what} AutoReg {p}"), &params, &numbers(&expected["params"]), 1.0);
        assert_close(&what, &[ar.variance], &[expected["sigma2"].as_f64().unwrap()], 1.0);
        if p == 10 {
            let mut left = vec![];
            innovations(&ar, &cpu_ppm, &mut left, simd);
            // Differences of samples: exact to what these are, 1e-8 of 10,000 ppm.
            assert_close(&format!("{what} innovations"), &left, &numbers(&case["innovations_10"]), 1e4);
        }
    }
}

#[test]
fn as_statsmodels() {
    let cases: Value = serde_json::from_str(include_str!("data/statsmodels/cases.json")).unwrap();
    assert_eq!(cases.as_array().unwrap().len(), 16);
    for case in cases.as_array().unwrap() {
        for simd in Simd::available() {
            check(case, simd);
        }
    }
}
