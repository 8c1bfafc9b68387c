//! One VM that is being read: its readings -> samples -> frames. Pure.

use std::sync::Arc;

use super::frames::Frames;
use super::grid::{Grid, Stream, Value};
use crate::types::{HostId, MAX_NAME_BYTES, Reason, Samples, VmId};

/// One VM on one host, or the host itself.
#[derive(Debug)]
pub struct Meter {
    stream: Stream,
    /// None for the host's own use.
    name: Option<Arc<str>>,
    out: Vec<Samples>,
}

impl Meter {
    /// The VM called `name` on `host`, whose identity is `id` if it has one of its own, else `host/name`.
    ///
    /// # Errors
    /// `BadName`: what no message can carry.
    pub fn new(host: &HostId, id: Option<&str>, name: &str) -> Result<Self, Reason> {
        let id = id.map_or_else(|| format!("{host}/{name}"), str::to_owned);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || id.is_empty() {
            return Err(Reason::BadName);
        }
        let stream = Stream::new(VmId::new(&id), host.clone());
        Ok(Meter { stream, name: Some(name.into()), out: vec![] })
    }

    /// What `host` uses itself.
    pub fn overhead(host: &HostId) -> Self {
        Meter { stream: Stream::new(VmId::new(""), host.clone()), name: None, out: vec![] }
    }

    /// Takes a reading, as [`Stream::read`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn read(&mut self, grid: &Grid, t_ns: i64, value: Value) -> Result<(), Reason> {
        self.stream.read(grid, t_ns, value, &mut self.out)
    }

    /// Hands on the samples that are complete.
    pub fn flush(&mut self, frames: &mut Frames) {
        self.stream.flush(&mut self.out);
        for samples in self.out.drain(..) {
            match &self.name {
                Some(name) => frames.push(&samples, name),
                None => frames.push_overhead(&samples),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_and_its_host() {
        let (grid, host) = (Grid::new(500, 500), HostId::new("h"));
        let mut meters = [
            Meter::new(&host, None, "web").unwrap(),
            Meter::new(&host, Some("u"), "db").unwrap(),
            Meter::overhead(&host),
        ];
        let mut frames = Frames::new(500);
        for (at, meter) in meters.iter_mut().enumerate() {
            for half in 0..5 {
                let used_ns = half * 1000 * (at as u64 + 1);
                meter.read(&grid, half as i64 * 500_000_000, Value::Counter(used_ns)).unwrap();
            }
            meter.flush(&mut frames);
        }
        let mut said = vec![];
        frames.cut(2, |frame| {
            let row =
                |row: &crate::collect::frames::Row| format!("{} {} {:?}", row.vm, row.name, row.cpu_ppm);
            said.push((
                frame.rows.iter().map(row).collect::<Vec<_>>(),
                frame.overhead_ppm.map(<[u32]>::to_vec),
            ));
        });
        assert_eq!(said, [(vec!["h/web web [2, 2]".into(), "u db [4, 4]".to_string()], Some(vec![6, 6]))]);
        assert_eq!(Meter::new(&host, None, "").unwrap_err(), Reason::BadName);
        assert_eq!(Meter::new(&host, None, &"x".repeat(256)).unwrap_err(), Reason::BadName);
    }
}
