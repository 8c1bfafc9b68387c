use lwt::coupling::{
    Params,
    compare::Nulls,
    moments::{Moments, Sums},
    scores, search, vector,
};
use lwt::simd::Simd;
use lwt::transport::file::{Batch, Options, Progress, Trace};
use lwt::window::{self, Shape, Status, VmWindow};
use std::collections::BTreeMap;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (path, seconds, period, step) =
        (&a[1], a[2].parse::<usize>().unwrap(), a[3].parse::<u64>().unwrap(), a[4].parse::<usize>().unwrap());
    let simd = Simd::detect();
    let mut trace = Trace::open(
        std::path::Path::new(path),
        Options { format: None, counters: false, period_ms: Some(period) },
    )
    .unwrap();
    let mut batch = Batch::default();
    let mut all: BTreeMap<String, (i64, Vec<u32>)> = BTreeMap::new();
    loop {
        let p = trace.read(&mut batch).unwrap();
        for r in batch.samples.drain(..) {
            let e = all.entry(r.vm.as_str().to_string()).or_insert((r.first, vec![]));
            e.1.resize((r.first - e.0) as usize, 0);
            e.1.extend(&r.cpu_ppm);
        }
        if !matches!(p, Progress::More) {
            break;
        }
    }
    let len = seconds * 1000 / period as usize;
    let n = all.values().map(|v| v.1.len()).min().unwrap();
    let hop = len;
    let params = Params::new(period, len, hop, 0.01).unwrap();
    let wp = window::Params::new(Shape { scales: params.scale_ticks(), ..Shape::new(len, hop, 10) }).unwrap();
    let st = step * 1000 / period as usize;
    let mut start = 0;
    while start + len <= n + len / 50 {
        let mut ids = vec![];
        let mut sc = vec![];
        for (id, (_, x)) in &all {
            let mut w = VmWindow::new(-1);
            w.push(&wp, &lwt::types::HostId::new("h"), 0, &x[start.min(n - 1)..(start + len).min(n)]);
            if w.close(&wp, 0, simd) == Status::Whole {
                ids.push(id.clone());
                sc.push(scores::scores(&w, &params, simd));
            }
        }
        let mut sums = Sums::default();
        sc.iter().for_each(|s| sums.add(s));
        let m = Moments::new(sums, &params);
        let v: Vec<Vec<i8>> = sc.iter().map(|s| vector::vector(s, &m, None, &params)).collect();
        let rows: Vec<&[i8]> = v.iter().map(|v| v.as_slice()).collect();
        let nulls = Nulls::new(&rows, rows.len(), &params);
        let mut out = vec![];
        for (i, j) in
            search::candidates(search::Block { left: &rows, right: None }, rows.len(), &nulls, &params, simd)
        {
            let g = nulls.judge(rows[i as usize], rows[j as usize], false, &params);
            out.push(format!("[\"{}\",\"{}\",{:.3},{}]", ids[i as usize], ids[j as usize], g.z, g.lag_ms));
        }
        println!(
            "{{\"W\":{seconds},\"start\":{start},\"thr\":{:.3},\"pairs\":[{}]}}",
            nulls.threshold(),
            out.join(",")
        );
        start += st;
    }
}
