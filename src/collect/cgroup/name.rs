//! Path of a control group -> the name of the VM. Pure.

/// What a group's path calls its VM: the name that a person gave it, as far as the path tells.
///
/// systemd writes `\x2d` for a dash within a name; libvirt numbers its machines anew at each start, so the
/// number is no part of the name.
pub fn name_of(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or(path);
    let unit = [".scope", ".slice", ".service"].iter().find_map(|end| last.strip_suffix(end));
    if let Some(unit) = unit {
        return of_unit(unit);
    }
    for end in [".libvirt-qemu", ".libvirt-lxc"] {
        if let Some(machine) = last.strip_suffix(end) {
            return unnumbered(machine).to_owned();
        }
    }
    for start in ["lxc.payload.", "pod"] {
        if let Some(rest) = last.strip_prefix(start).filter(|rest| !rest.is_empty()) {
            return rest.to_owned();
        }
    }
    container(last).to_owned()
}

fn of_unit(unit: &str) -> String {
    if let Some(machine) = unit.strip_prefix("machine-") {
        return unnumbered(&unescaped(machine)).to_owned();
    }
    if let Some(machine) = unit.strip_prefix("systemd-nspawn@") {
        return unescaped(machine);
    }
    if let Some(id) = unit.strip_prefix("docker-") {
        return container(id).to_owned();
    }
    if unit.starts_with("kubepods-")
        && let Some((_, id)) = unit.split_once("-pod")
    {
        return id.replace('_', "-");
    }
    unescaped(unit)
}

/// Without `qemu-7-` or `lxc-7-`.
fn unnumbered(machine: &str) -> &str {
    let rest = machine.strip_prefix("qemu-").or_else(|| machine.strip_prefix("lxc-"));
    let split = rest.and_then(|rest| rest.split_once('-'));
    let numbered = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match split {
        Some((number, name)) if numbered(number) && !name.is_empty() => name,
        _ => machine,
    }
}

/// The first twelve digits of a container's number, as `docker ps` shows it.
fn container(name: &str) -> &str {
    let is_number = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_number { &name[..12] } else { name }
}

/// systemd's `\xNN` as what it stands for; left as it is where the result would be no text.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_gave() {
        let number = "0123456789abcdef".repeat(4);
        let (docker, scope) = (format!("docker/{number}"), format!("system.slice/docker-{number}.scope"));
        for (path, want) in [
            ("machine.slice/machine-qemu\\x2d12\\x2dweb\\x2d1.scope", "web-1"),
            ("machine.slice/machine-web.scope", "web"),
            ("machine.slice/machine-qemu\\x2dx.scope", "qemu-x"),
            ("machine.slice/systemd-nspawn@mail\\x2d2.service", "mail-2"),
            ("machine/qemu-3-db.libvirt-qemu", "db"),
            ("machine/lxc-41-db-2.libvirt-lxc", "db-2"),
            ("machine/qemu-3-.libvirt-qemu", "qemu-3-"),
            ("kubepods/burstable/pod0b3e-1", "0b3e-1"),
            ("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0b3e_1.slice", "0b3e-1"),
            ("kubepods.slice/kubepods-pod0b3e_1.slice", "0b3e-1"),
            ("lxc.payload.mail", "mail"),
            ("lxc/mail", "mail"),
            ("lwt/tenant/web", "web"),
            (&docker, "0123456789ab"),
            (&scope, "0123456789ab"),
            ("a/\\xff\\x2d.slice", "\\xff\\x2d"),
            ("a/\\x2", "\\x2"),
            ("a/\\x+1.slice", "\\x+1"),
            ("pod", "pod"),
            ("", ""),
        ] {
            assert_eq!(name_of(path), want, "{path}");
        }
    }
}
