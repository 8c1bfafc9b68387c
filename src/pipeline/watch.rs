//! Looks on while the coupling engine judges one pair, window after window. Changes nothing of what it finds.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::coupling::explain::{Pair, Side};
use crate::types::{Tick, VmId};

/// A pair that is looked at, and who is told. Complete with one worker.
#[derive(Clone, Debug)]
pub struct Watch {
    names: [String; 2],
    /// At most two windows are under way (see `driver`): some hundred KiB each.
    seen: Sender<Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    /// The end of the window: the tick after its last, counted from the origin.
    end: Tick,
    what: Sight,
}

/// What can be seen of a pair.
#[derive(Clone, Debug)]
pub enum Sight {
    /// The window of a VM with one of the names.
    Vm(VmId, Side),
    /// How the pair was judged; not sent if one of the two could not be.
    Pair(VmId, VmId, Pair),
    /// The window proposes a pair as dependent.
    Proposed(VmId, VmId),
}

impl Watch {
    /// Watches the VMs that are called so: by their identity, or by what follows the host in it.
    pub fn new(names: [String; 2]) -> (Watch, Sights) {
        let (seen, receiver) = channel();
        (Watch { names, seen }, Sights { receiver, waiting: vec![] })
    }

    /// Whether a VM may be called one of the names.
    pub fn concerns(&self, vm: &VmId) -> bool {
        self.names.iter().any(|name| is_called(vm, name))
    }

    /// The positions in `vms`, in order of VM, of the pair.
    pub fn find<'a>(&self, vms: impl Iterator<Item = &'a VmId> + Clone) -> Option<(usize, usize)> {
        let [one, other] = &self.names;
        let (one, other) = (find(vms.clone(), one)?, find(vms, other)?);
        (one != other).then_some((one.min(other), one.max(other)))
    }

    /// Tells what was seen. Nobody listens any more only when the caller gave up.
    pub fn tell(&self, end: Tick, what: Sight) {
        let _ = self.seen.send(Seen { end, what });
    }
}

/// What was seen, by window.
#[derive(Debug)]
pub struct Sights {
    receiver: Receiver<Seen>,
    /// Of windows that are not complete yet.
    waiting: Vec<Seen>,
}

impl Sights {
    /// What was seen in the window with this end, the tick after its last, when it is complete.
    pub fn of(&mut self, end: Tick) -> Vec<Sight> {
        self.waiting.extend(self.receiver.try_iter());
        let (of, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|seen| seen.end <= end);
        self.waiting = waiting;
        of.into_iter().map(|seen: Seen| seen.what).collect()
    }
}

/// The position in `vms` of the VM with this identity, else of the first one with this name.
pub fn find<'a>(mut vms: impl Iterator<Item = &'a VmId> + Clone, name: &str) -> Option<usize> {
    let exact = vms.clone().position(|vm| vm.as_str() == name);
    exact.or_else(|| vms.position(|vm| is_called(vm, name)))
}

/// Whether `name` is a VM's identity or what follows the host in it.
pub fn is_called(vm: &VmId, name: &str) -> bool {
    vm.as_str() == name || vm.name() == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_before_a_name() {
        let vms = ["h1/db", "h1/web", "h2/db", "web"].map(VmId::new);
        for (name, at) in [("web", Some(3)), ("h1/web", Some(1)), ("db", Some(0)), ("h1", None), ("", None)] {
            assert_eq!(find(vms.iter(), name), at, "{name}");
        }
        let (watch, _sights) = Watch::new(["web".into(), "db".into()]);
        assert_eq!(watch.find(vms.iter()), Some((0, 3)));
        assert!(watch.concerns(&vms[1]) && !watch.concerns(&VmId::new("cache")));
        let (same, _sights) = Watch::new(["h2/db".into(), "h2/db".into()]);
        assert_eq!(same.find(vms.iter()), None);
    }

    #[test]
    fn sights_wait_for_their_window() {
        let (watch, mut sights) = Watch::new(["a".into(), "b".into()]);
        for end in [60, 120, 60] {
            watch.tell(end, Sight::Proposed(VmId::new("a"), VmId::new("b")));
        }
        assert_eq!([60, 60, 120].map(|end| sights.of(end).len()), [2, 0, 1]);
    }
}
