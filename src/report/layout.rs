//! Where everything in a picture of the graph stands: a box an ensemble, the hubs between the boxes that share them.
//!
//! No forces, no chance: the members of an ensemble stand on the two sides of an ellipse, a line of text apart, so that their
//! names go outwards and never over each other, and their dependencies inwards. Ensembles that share hubs stand left and
//! right of these, their members at the side that faces them; such blocks fill the picture row by row, the largest first.

use std::collections::{BTreeMap, BTreeSet};

use super::chosen::{Chosen, Group, choose, counted};
use super::drawing::{Anchor, DOT, Drawing, LETTERS, Point, Shape, label, width};
use super::graph::Graph;
use super::tone::{self, Tone, series};
use crate::transport::records::Dependency;
use crate::types::VmId;

/// Between two names below each other.
const LINE: f64 = 20.0;
/// Around what is in a box.
const PAD: f64 = 12.0;
/// Between boxes.
const GAP: f64 = 28.0;
/// From a dot to its name.
const BESIDE: f64 = 12.0;
/// Between a box and a hub: wide enough for half of its name.
const APART: f64 = 130.0;
/// Between two hubs.
const HUBS: f64 = 56.0;
/// How wide a picture is, unless one block alone is wider.
const WIDE: f64 = 1100.0;
/// Lines that are drawn: the strongest. At 150 bytes each they are the largest part of a file, under 1 MB.
const LINES: usize = 5000;

/// The colour, side and place of a VM.
struct Node<'a> {
    vm: &'a VmId,
    at: Point,
    anchor: Anchor,
    ring: bool,
    tone: Tone,
}

/// A box.
struct Frame {
    title: String,
    /// Its upper left corner.
    at: Point,
    size: Point,
    faces: Faces,
}

/// Ensembles that share hubs, with what belongs to them, placed from the upper left corner of their own.
#[derive(Default)]
struct Block<'a> {
    size: Point,
    boxes: Vec<Frame>,
    nodes: Vec<Node<'a>>,
}

/// Draws at most `limit` VMs of a graph, and says what is left out and how to read it.
pub fn picture(graph: &Graph, limit: usize) -> (Drawing, Vec<String>) {
    let Chosen { groups, loose, mut notes } = choose(graph, limit);
    let mut blocks: Vec<Block<'_>> = together(&groups).into_iter().map(|of| shared(&groups, of)).collect();
    if !loose.is_empty() {
        blocks.push(side_by_side(vec![ellipse("in no ensemble", &loose, tone::QUIET, Faces::Inwards)], 0.0));
    }
    let all = pack(blocks);
    let mut drawing = Drawing { width: all.size.0, height: all.size.1, shapes: vec![] };
    drawing.shapes.extend(all.boxes.iter().map(Frame::ground));
    let dropped = lines(graph, &all.nodes, &mut drawing.shapes);
    drawing.shapes.extend(all.boxes.iter().map(Frame::title));
    all.nodes.iter().for_each(|node| node.draw(&mut drawing.shapes));
    if dropped > 0 {
        notes.push(format!("{dropped} weaker dependencies are not drawn."));
    }
    if !all.nodes.is_empty() {
        notes.insert(0, READING.into());
    }
    (drawing, notes)
}

const READING: &str = "The thicker a line, the stronger the dependency; dark: direct; dashed: one VM rests while the \
                       other works. A VM in a ring is shared by several ensembles.";

/// Which groups share hubs, as sets of their positions: the largest set first.
fn together(groups: &[Group<'_>]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = vec![];
    for (i, group) in groups.iter().enumerate() {
        let shares =
            |set: &Vec<usize>| set.iter().any(|j| groups[*j].hubs.iter().any(|vm| group.hubs.contains(vm)));
        let (touched, others): (Vec<_>, Vec<_>) = sets.into_iter().partition(shares);
        sets = others;
        sets.push(touched.into_iter().flatten().chain([i]).collect());
    }
    sets.iter_mut().for_each(|set| set.sort_unstable());
    sets.sort_by_key(|set| (std::cmp::Reverse(set.len()), set[0]));
    sets
}

/// Where the dots of a box stand from their names: at the sides of an ellipse, or at that side which faces the hubs.
#[derive(Clone, Copy, PartialEq)]
enum Faces {
    Inwards,
    Right,
    Left,
}

/// One ensemble's box.
fn ellipse<'a>(title: &str, members: &[&'a VmId], tone: Tone, faces: Faces) -> Block<'a> {
    let (left, right) = match faces {
        Faces::Inwards => members.split_at(members.len().div_ceil(2)),
        Faces::Right => members.split_at(members.len()),
        Faces::Left => members.split_at(0),
    };
    let rows = left.len().max(right.len());
    let wide = |vms: &[&VmId]| vms.iter().map(|vm| width(&label(vm.as_str()))).fold(0.0, f64::max);
    let (half, top) = (20.0 + (4 * rows.min(12)) as f64, PAD + LETTERS + LINE / 2.0);
    let centre = PAD + wide(left) + BESIDE + half;
    let title = label(title);
    let whole = (centre + half + BESIDE + wide(right) + PAD).max(width(&title) + 2.0 * PAD);
    let side = |vms: &[&'a VmId], sign: f64| -> Vec<Node<'a>> {
        let place = |(i, vm): (usize, &&'a VmId)| {
            let down = 2.0 * (i as f64 + 0.5) / rows as f64 - 1.0;
            let at = (centre + sign * half * (1.0 - 0.7 * down * down).sqrt(), top + (i as f64 + 0.5) * LINE);
            let anchor = if sign < 0.0 { Anchor::End } else { Anchor::Start };
            Node { vm, at, anchor, ring: false, tone }
        };
        vms.iter().enumerate().map(place).collect()
    };
    let nodes = side(left, -1.0).into_iter().chain(side(right, 1.0)).collect();
    let size = (whole, top + rows as f64 * LINE + PAD / 2.0);
    Block { size, boxes: vec![Frame { title, at: (0.0, 0.0), size, faces }], nodes }
}

/// The groups at these positions, left and right of the hubs that they share.
fn shared<'a>(groups: &[Group<'a>], of: Vec<usize>) -> Block<'a> {
    let hubs: BTreeSet<&VmId> = of.iter().flat_map(|i| groups[*i].hubs.iter().copied()).collect();
    let own: Vec<usize> = of.into_iter().filter(|i| !groups[*i].own.is_empty()).collect();
    let boxed = |i: &usize, faces| {
        let Group { name, own, hubs, size } = &groups[*i];
        let shown = own.len() + hubs.len();
        let cut = if shown < *size { format!("{shown} of ") } else { String::new() };
        ellipse(&format!("{name}: {cut}{}", counted(*size, "VM")), own, series(*i), faces)
    };
    if hubs.is_empty() {
        return side_by_side(own.iter().map(|i| boxed(i, Faces::Inwards)).collect(), GAP);
    }
    // As many below each other as beside, but three at least: then the hubs see most of them.
    let tall = 3.max((own.len() as f64 / 2.0).sqrt().ceil() as usize);
    let (left, right) = own.split_at(own.len().div_ceil(2));
    let columns = |of: &[usize], faces| {
        let column = |some: &[usize]| stacked(some.iter().map(|i| boxed(i, faces)).collect());
        side_by_side(of.chunks(tall).map(column).collect(), GAP)
    };
    let place = |(i, vm)| {
        let at = (0.0, HUBS * (i as f64 + 0.5));
        Node { vm, at, anchor: Anchor::Middle, ring: true, tone: tone::INK }
    };
    let size = (0.0, HUBS * hubs.len() as f64);
    let between = Block { size, boxes: vec![], nodes: hubs.into_iter().enumerate().map(place).collect() };
    side_by_side(vec![columns(left, Faces::Right), between, columns(right, Faces::Left)], APART)
}

/// Blocks beside each other, their middles at one height.
fn side_by_side(blocks: Vec<Block<'_>>, gap: f64) -> Block<'_> {
    let high = blocks.iter().map(|block| block.size.1).fold(0.0, f64::max);
    let (mut all, mut x) = (Block::default(), 0.0);
    for block in blocks {
        let (w, h) = block.size;
        all.add(block, (x, (high - h) / 2.0));
        x += w + gap;
    }
    all
}

/// Blocks below each other.
fn stacked(blocks: Vec<Block<'_>>) -> Block<'_> {
    let (mut all, mut y) = (Block::default(), 0.0);
    for block in blocks {
        let h = block.size.1;
        all.add(block, (0.0, y));
        y += h + GAP;
    }
    all
}

/// Blocks in rows.
fn pack(blocks: Vec<Block<'_>>) -> Block<'_> {
    let (mut all, mut at, mut high) = (Block::default(), (GAP, GAP), 0.0_f64);
    for block in blocks {
        let (w, h) = block.size;
        if at.0 > GAP && at.0 + w > WIDE {
            at = (GAP, at.1 + high + GAP);
            high = 0.0;
        }
        all.add(block, at);
        at.0 += w + GAP;
        high = high.max(h);
    }
    all.size = (all.size.0 + GAP, all.size.1 + GAP);
    all
}

impl<'a> Block<'a> {
    /// Adds a block, its upper left corner at `by`.
    fn add(&mut self, block: Block<'a>, by: Point) {
        let moved = |at: Point| (at.0 + by.0, at.1 + by.1);
        let end = moved(block.size);
        self.size = (self.size.0.max(end.0), self.size.1.max(end.1));
        self.boxes.extend(block.boxes.into_iter().map(|frame| Frame { at: moved(frame.at), ..frame }));
        self.nodes.extend(block.nodes.into_iter().map(|node| Node { at: moved(node.at), ..node }));
    }
}

impl Frame {
    fn ground(&self) -> Shape {
        Shape::Box { at: self.at, size: self.size, fill: tone::PANEL, frame: Some(tone::RULE) }
    }

    /// In that corner to which no lines come.
    fn title(&self) -> Shape {
        let y = self.at.1 + PAD + LETTERS / 2.0;
        let (at, anchor) = match self.faces {
            Faces::Left => ((self.at.0 + self.size.0 - PAD, y), Anchor::End),
            Faces::Right | Faces::Inwards => ((self.at.0 + PAD, y), Anchor::Start),
        };
        Shape::Text { at, anchor, text: self.title.clone(), tone: tone::QUIET }
    }
}

impl Node<'_> {
    fn draw(&self, shapes: &mut Vec<Shape>) {
        let (x, y) = self.at;
        let text = label(self.vm.as_str());
        let wide = width(&text);
        let (at, begin) = match self.anchor {
            Anchor::Start => ((x + BESIDE, y + 4.0), x + BESIDE),
            Anchor::End => ((x - BESIDE, y + 4.0), x - BESIDE - wide),
            Anchor::Middle => ((x, y - 3.0 * DOT), x - wide / 2.0),
        };
        if self.ring {
            // Its name lies over lines.
            let (at, size) = ((begin - 3.0, at.1 - LETTERS), (wide + 6.0, LETTERS + 4.0));
            shapes.push(Shape::Box { at, size, fill: tone::PAPER, frame: None });
        }
        shapes.push(Shape::Dot { at: self.at, ring: self.ring, tone: self.tone });
        shapes.push(Shape::Text { at, anchor: self.anchor, text, tone: tone::INK });
    }
}

/// Draws the dependencies between the nodes, the strongest if there are too many; gives how many are left out.
fn lines(graph: &Graph, nodes: &[Node<'_>], shapes: &mut Vec<Shape>) -> usize {
    let places: BTreeMap<&VmId, Point> = nodes.iter().map(|node| (node.vm, node.at)).collect();
    let both = |pair: &Dependency| Some((*places.get(&pair.a)?, *places.get(&pair.b)?));
    let mut ends: Vec<_> = graph.pairs.iter().filter_map(|pair| Some((pair, both(pair)?))).collect();
    let strength = |pair: &Dependency| pair.strength.unwrap_or(0.0);
    ends.sort_by(|(one, _), (other, _)| strength(other).abs().total_cmp(&strength(one).abs()));
    let dropped = ends.len().saturating_sub(LINES);
    ends.truncate(LINES);
    // The strongest, and above all the direct ones, lie over the others.
    ends.sort_by_key(|(pair, _)| pair.direct == Some(true));
    for (pair, (from, to)) in ends {
        let tone = if pair.direct == Some(true) { tone::DIRECT } else { tone::EDGE };
        let (width, dashed) = (1.0 + 2.0 * strength(pair).abs(), strength(pair) < 0.0);
        shapes.push(Shape::Line { from, to, width, dashed, tone });
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;

    fn texts(drawing: &Drawing) -> Vec<&str> {
        drawing
            .shapes
            .iter()
            .filter_map(|shape| if let Shape::Text { text, .. } = shape { Some(text.as_str()) } else { None })
            .collect()
    }

    #[test]
    fn hubs_stand_between_their_ensembles() {
        let mut all = graph(&[("e1", 3), ("e2", 3)], 0);
        all.vms.insert(VmId::new("db"), vec!["e1".into(), "e2".into()]);
        let (drawing, notes) = picture(&all, 100);
        let boxes: Vec<(f64, f64)> = drawing
            .shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Box { at, size, frame: Some(_), .. } => Some((at.0, at.0 + size.0)),
                _ => None,
            })
            .collect();
        let hub = drawing.shapes.iter().find_map(|shape| match shape {
            Shape::Dot { at, ring: true, .. } => Some(at.0),
            _ => None,
        });
        let hub = hub.unwrap();
        assert!(boxes.len() == 2 && boxes[0].1 < hub && hub < boxes[1].0, "{boxes:?} {hub}");
        assert!(texts(&drawing).contains(&"e1: 4 VMs") && texts(&drawing).contains(&"db"));
        assert_eq!(notes, [READING]);
        assert_eq!(picture(&all, 100).0, drawing);
    }

    #[test]
    fn everything_is_inside_and_nothing_twice() {
        let all = graph(&[("e1", 30), ("e2", 7), ("e3", 1), ("e4", 2), ("e5", 24)], 3);
        let (drawing, _) = picture(&all, 1000);
        let inside =
            |(x, y): Point| (0.0..=drawing.width).contains(&x) && (0.0..=drawing.height).contains(&y);
        for shape in &drawing.shapes {
            match shape {
                Shape::Box { at, size, .. } => assert!(inside(*at) && inside((at.0 + size.0, at.1 + size.1))),
                Shape::Line { from, to, .. } => assert!(inside(*from) && inside(*to)),
                Shape::Dot { at, .. } | Shape::Text { at, .. } => assert!(inside(*at)),
            }
        }
        let names = texts(&drawing);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(picture(&Graph::default(), 10).0.shapes, []);
    }

    #[test]
    fn of_thousands_of_vms_a_part_is_drawn() {
        let names: Vec<String> = (1..=300).map(|i| format!("e{i}")).collect();
        let sizes: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 7)).collect();
        let (drawing, notes) = picture(&graph(&sizes, 0), 200);
        let bytes = drawing.svg("").len();
        assert!(bytes < 200_000, "{bytes}");
        assert!(notes.iter().any(|note| note.starts_with("Of 300 ensembles the 29 largest")), "{notes:?}");
        assert!(notes.iter().any(|note| note.starts_with("1900 VMs")), "{notes:?}");
    }
}
