//! Writes what a simulated datacenter measures as a trace, and its truth and calls as CSV: bytes into a
//! buffer, which the caller takes away.

use std::io::Write;

use super::{Reading, Simulator};

/// The form of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// CSV with a column for each VM, per cent of one core; an empty cell for a VM that is down.
    Wide,
    /// CSV with a line for each VM and tick: `t,host,vm,cpu`, per cent of one core.
    Long,
    /// Sample messages, one for each host and second (or tick, if that is longer).
    Ndjson,
}

/// Writes one trace.
pub struct Writer {
    format: Format,
    period_ms: u32,
    /// Ticks a message, and those that it holds so far.
    ticks_per_message: usize,
    ticks: usize,
    end_ms: i64,
    vms: Vec<String>,
    hosts: Vec<String>,
    /// The values of each VM that are not written yet, and the VMs of each host.
    pending: Vec<Vec<u32>>,
    placed: Vec<Vec<u32>>,
}

impl Writer {
    /// A writer of the readings of `simulator`.
    pub fn new(simulator: &Simulator, format: Format) -> Self {
        let vms: Vec<String> = simulator.truth().iter().map(|row| row.vm.to_string()).collect();
        let hosts: Vec<String> = simulator.hosts().iter().map(|host| host.to_string()).collect();
        let params = simulator.params();
        Writer {
            format,
            period_ms: params.period_ms,
            ticks_per_message: params.ticks_per_message(),
            ticks: 0,
            end_ms: 0,
            pending: vec![Vec::new(); vms.len()],
            placed: vec![Vec::new(); hosts.len()],
            vms,
            hosts,
        }
    }

    /// Appends what stands before the first tick. A wide trace names the host of each VM, `host/name`,
    /// unless VMs come and go: then the column is the VM's wherever it runs.
    pub fn header(&self, simulator: &Simulator, out: &mut Vec<u8>) {
        match self.format {
            Format::Wide => {
                out.push(b't');
                for row in simulator.truth() {
                    out.push(b',');
                    if simulator.params().churn_per_hour == 0.0 {
                        out.extend_from_slice(row.host.as_str().as_bytes());
                        out.push(b'/');
                    }
                    out.extend_from_slice(row.vm.as_str().as_bytes());
                }
                out.push(b'\n');
            }
            Format::Long => out.extend_from_slice(b"t,host,vm,cpu\n"),
            Format::Ndjson => {}
        }
    }

    /// Appends the readings of a tick that ended at `end_ms`.
    pub fn tick(&mut self, end_ms: i64, readings: &[Reading], out: &mut Vec<u8>) {
        match self.format {
            Format::Wide => self.wide(end_ms, readings, out),
            Format::Long => self.long(end_ms, readings, out),
            Format::Ndjson => {
                self.hold(end_ms, readings);
                if self.is_full() {
                    self.finish(out);
                }
            }
        }
    }

    /// Appends what is still held back: messages that are not full.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.messages(|_, message| {
            out.extend_from_slice(message);
            out.push(b'\n');
        });
    }

    /// Whether the messages of a second are full: what is held back after the last of its ticks, if it was taken
    /// with [`Writer::hold`].
    pub fn is_full(&self) -> bool {
        self.ticks == self.ticks_per_message
    }

    /// Takes the readings of a tick that ended at `end_ms` as NDJSON, and holds them back.
    pub fn hold(&mut self, end_ms: i64, readings: &[Reading]) {
        for reading in readings {
            let values = &mut self.pending[reading.vm as usize];
            if values.is_empty() {
                self.placed[reading.host as usize].push(reading.vm);
            }
            values.push(reading.cpu_ppm);
        }
        self.end_ms = end_ms;
        self.ticks += 1;
    }

    /// Hands on what is held back: host and message.
    pub fn messages(&mut self, mut each: impl FnMut(&str, &[u8])) {
        self.ticks = 0;
        let mut out = Vec::new();
        for (host, placed) in self.hosts.iter().zip(&mut self.placed) {
            if placed.is_empty() {
                continue;
            }
            let (end_ms, period_ms) = (self.end_ms, self.period_ms);
            out.clear();
            // Names are ours: nothing in them needs an escape.
            append(
                &mut out,
                format_args!(r#"{{"v":1,"host":"{host}","t_ms":{end_ms},"period_ms":{period_ms},"vms":["#),
            );
            for (i, vm) in placed.drain(..).enumerate() {
                let name = self.vms[vm as usize].as_bytes();
                for text in
                    [if i == 0 { "" } else { "," }.as_bytes(), br#"{"id":""#, name, br#"","name":""#, name]
                {
                    out.extend_from_slice(text);
                }
                out.extend_from_slice(br#"","cpu_ppm":"#);
                let values = &mut self.pending[vm as usize];
                match values[..] {
                    [one] => decimal(&mut out, u64::from(one)),
                    _ => list(&mut out, values),
                }
                values.clear();
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
            each(host, &out);
        }
    }

    fn wide(&self, end_ms: i64, readings: &[Reading], out: &mut Vec<u8>) {
        seconds(out, end_ms);
        let mut readings = readings.iter().peekable();
        for vm in 0..self.vms.len() as u32 {
            out.push(b',');
            if let Some(reading) = readings.next_if(|reading| reading.vm == vm) {
                percent(out, reading.cpu_ppm);
            }
        }
        out.push(b'\n');
    }

    fn long(&self, end_ms: i64, readings: &[Reading], out: &mut Vec<u8>) {
        let mut time = Vec::new();
        seconds(&mut time, end_ms);
        for reading in readings {
            out.extend_from_slice(&time);
            out.push(b',');
            out.extend_from_slice(self.hosts[reading.host as usize].as_bytes());
            out.push(b',');
            out.extend_from_slice(self.vms[reading.vm as usize].as_bytes());
            out.push(b',');
            percent(out, reading.cpu_ppm);
            out.push(b'\n');
        }
    }
}

/// The truth as CSV: `vm,ensemble,app,role,host`.
pub fn truth_csv(simulator: &Simulator) -> String {
    let row = |row: &super::TruthRow| {
        format!("{},{},{},{},{}\n", row.vm, row.ensemble, row.app, row.role, row.host)
    };
    "vm,ensemble,app,role,host\n".to_string() + &simulator.truth().iter().map(row).collect::<String>()
}

/// Who calls whom as CSV: `caller,callee`.
pub fn edges_csv(simulator: &Simulator) -> String {
    let name = |vm: u32| &simulator.truth()[vm as usize].vm;
    let row = |&(caller, callee): &(u32, u32)| format!("{},{}\n", name(caller), name(callee));
    "caller,callee\n".to_string() + &simulator.edges().iter().map(row).collect::<String>()
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    padded(out, value, 1);
}

/// A JSON array.
fn list(out: &mut Vec<u8>, values: &[u32]) {
    for (i, value) in values.iter().enumerate() {
        out.push(if i == 0 { b'[' } else { b',' });
        decimal(out, u64::from(*value));
    }
    out.push(b']');
}

/// `value` with at least `digits` digits (20 at most). By hand: a large trace is mostly digits, and this is
/// several times as fast as the formatting machinery.
fn padded(out: &mut Vec<u8>, mut value: u64, digits: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while value > 0 || text.len() - at < digits {
        at -= 1;
        text[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[at..]);
}

/// Parts per million of a core as per cent, exactly.
fn percent(out: &mut Vec<u8>, cpu_ppm: u32) {
    decimal(out, u64::from(cpu_ppm / 10_000));
    out.push(b'.');
    padded(out, u64::from(cpu_ppm % 10_000), 4);
}

/// Milliseconds as seconds, exactly; whole ones without a point.
fn seconds(out: &mut Vec<u8>, ms: i64) {
    let ms = ms.unsigned_abs();
    decimal(out, ms / 1000);
    if !ms.is_multiple_of(1000) {
        out.push(b'.');
        padded(out, ms % 1000, 3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Params;

    fn trace(params: Params, format: Format, ticks: usize) -> String {
        let mut simulator = Simulator::new(params).unwrap();
        let mut writer = Writer::new(&simulator, format);
        let (mut out, mut readings) = (Vec::new(), Vec::new());
        writer.header(&simulator, &mut out);
        for _ in 0..ticks {
            let end_ms = simulator.tick(&mut readings);
            writer.tick(end_ms, &readings, &mut out);
        }
        writer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    const PARAMS: Params =
        Params { vms: 40, seed: 7, period_ms: 1000, start_ms: 1_700_000_000_000, churn_per_hour: 0.0 };

    #[test]
    fn numbers_are_exact() {
        let written = |write: fn(&mut Vec<u8>, u32), value| {
            let mut out = Vec::new();
            write(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        for (cpu_ppm, text) in [(0, "0.0000"), (1, "0.0001"), (123_456, "12.3456"), (4_000_000, "400.0000")] {
            assert_eq!(written(percent, cpu_ppm), text);
        }
        for (ms, text) in [(0, "0"), (1000, "1"), (1050, "1.050"), (1_000_001, "1000.001")] {
            assert_eq!(written(|out, ms| seconds(out, i64::from(ms)), ms), text);
        }
    }

    #[test]
    fn all_forms_hold_the_same_values() {
        let wide = trace(PARAMS, Format::Wide, 3);
        let mut lines = wide.lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
        let mut cells = Vec::new();
        for line in lines {
            let (t, values) = line.split_once(',').unwrap();
            cells.extend(
                names.iter().zip(values.split(',')).map(|(n, v)| format!("{t},{},{v}", n.replace('/', ","))),
            );
        }
        let long = trace(PARAMS, Format::Long, 3);
        assert_eq!(cells, long.lines().skip(1).collect::<Vec<_>>());
        let mut messages = Vec::new();
        for line in trace(PARAMS, Format::Ndjson, 3).lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            let t = message["t_ms"].as_i64().unwrap() / 1000;
            for vm in message["vms"].as_array().unwrap() {
                let percent = vm["cpu_ppm"].as_f64().unwrap() / 1e4;
                let (host, name) = (message["host"].as_str().unwrap(), vm["name"].as_str().unwrap());
                messages.push(format!("{t},{host},{name},{percent:.4}"));
            }
        }
        cells.sort();
        messages.sort();
        assert_eq!(messages, cells);
    }

    #[test]
    fn a_message_holds_a_second_even_when_vms_come_and_go() {
        let params = Params { period_ms: 100, churn_per_hour: 60.0, ..PARAMS };
        let text = trace(params, Format::Ndjson, 605);
        let mut lengths: Vec<usize> = Vec::new();
        for line in text.lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            lengths.extend(
                message["vms"].as_array().unwrap().iter().map(|vm| vm["cpu_ppm"].as_array().unwrap().len()),
            );
        }
        assert!(lengths.iter().all(|n| [5, 10].contains(n)) && lengths.contains(&5));
        assert!(lengths.len() < 61 * 40, "no VM was ever down");
    }

    #[test]
    fn columns_of_migrating_vms_name_no_host_and_a_stopped_vm_has_an_empty_cell() {
        let text = trace(Params { churn_per_hour: 60.0, ..PARAMS }, Format::Wide, 60);
        assert!(!text.lines().next().unwrap().contains('/'));
        assert!(text.contains(",,"));
        assert!(text.lines().all(|line| line.split(',').count() == 41));
    }
}
