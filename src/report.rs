//! Results -> pictures for people: the dependency graph as DOT, SVG and PNG, and a page with the paper's figures.
//!
//! Pure, and a function of its arguments alone: the same results give the same bytes. Names of VMs are hostile input: they
//! are escaped wherever they are written, and nothing that a page or picture holds is fetched from elsewhere.

mod chart;
mod chosen;
mod components;
mod dot;
mod drawing;
mod graph;
mod html;
mod layout;
mod matrix;
mod orders;
mod page;
mod raster;
mod recorded;
mod tone;

pub use dot::dot;
pub use graph::Graph;
pub use orders::by_order;
pub use page::{Report, page};
pub use raster::PngError;
pub use recorded::{MAX_ORDER, RECORDED_VMS, Recent, Recorded, wanted};

use drawing::Drawing;

/// VMs in a picture that stands by itself: with 12 to a row a few thousand pixels high.
const PICTURE_VMS: usize = 1000;

/// The graph as an SVG file.
pub fn svg(graph: &Graph) -> String {
    explained(graph).svg_file(ABOUT)
}

/// The graph as a PNG file.
///
/// # Errors
/// When it cannot be drawn.
pub fn png(graph: &Graph) -> Result<Vec<u8>, PngError> {
    raster::png(&explained(graph))
}

const ABOUT: &str = "The dependency graph: VMs by ensemble, a line a dependency";

/// A picture of the graph with what is to be said of it below.
fn explained(graph: &Graph) -> Drawing {
    let (mut drawing, notes) = layout::picture(graph, PICTURE_VMS);
    drawing.add_notes(&notes);
    drawing
}
