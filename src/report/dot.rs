//! The graph for Graphviz.

use super::graph::Graph;

/// A box an ensemble, a line a dependency, bold if it is direct and dashed if one VM rests while the other works. A hub,
/// which no box can hold, stands outside of them with a double border.
pub fn dot(graph: &Graph) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("graph lwt {\n  node [shape=box];\n");
    for (ensemble, members) in graph.ensembles() {
        let own = members.iter().filter(|vm| graph.memberships(vm) == 1);
        let own: Vec<_> = own.map(|vm| quoted(vm.as_str())).collect();
        if !own.is_empty() {
            let (id, label) = (quoted(&format!("cluster_{ensemble}")), quoted(ensemble));
            text += &format!("  subgraph {id} {{ label={label}; {}; }}\n", own.join("; "));
        }
    }
    for (vm, of) in graph.vms.iter().filter(|(_, of)| of.len() != 1) {
        let border = if of.is_empty() { "" } else { " [peripheries=2]" };
        text += &format!("  {}{border};\n", quoted(vm.as_str()));
    }
    for pair in &graph.pairs {
        let style = match (pair.direct == Some(true), pair.strength.is_some_and(|strength| strength < 0.0)) {
            (true, true) => " [style=\"bold,dashed\"]",
            (true, false) => " [style=bold]",
            (false, true) => " [style=dashed]",
            (false, false) => "",
        };
        text += &format!("  {} -- {}{style};\n", quoted(pair.a.as_str()), quoted(pair.b.as_str()));
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::records::Dependency;
    use crate::types::VmId;

    #[test]
    fn hubs_signs_and_direct_dependencies_show() {
        let vms: [(&str, &[&str]); 5] = [
            ("app1", &["e1"]),
            ("b\"at\\ch", &[]),
            ("db", &["e1", "e2"]),
            ("web1", &["e1"]),
            ("web2", &["e2"]),
        ];
        let vms = vms.map(|(vm, of)| (VmId::new(vm), of.iter().map(|e| e.to_string()).collect())).into();
        let pair = |a, b, strength, direct| {
            let (strength, direct) = (Some(strength), Some(direct));
            Dependency { strength, direct, ..Dependency::bare(VmId::new(a), VmId::new(b), 1) }
        };
        let pairs = vec![
            pair("app1", "db", 0.9, true),
            pair("app1", "web1", 0.9, false),
            pair("db", "web1", -0.5, false),
            pair("db", "web2", -0.5, true),
        ];
        let expected = r#"graph lwt {
  node [shape=box];
  subgraph "cluster_e1" { label="e1"; "app1"; "web1"; }
  subgraph "cluster_e2" { label="e2"; "web2"; }
  "b\"at\\ch";
  "db" [peripheries=2];
  "app1" -- "db" [style=bold];
  "app1" -- "web1";
  "db" -- "web1" [style=dashed];
  "db" -- "web2" [style="bold,dashed"];
}
"#;
        assert_eq!(dot(&Graph { vms, pairs }), expected);
    }
}
