//! A workflow as a drawing: nodes where their author put them, edges with their labels, as SVG.

use std::fmt::Write as _;

use serde_json::Value;

use crate::flow::{Catalogue, Document, Findings, Object};

/// Size of a node's box.
const WIDTH: f64 = 168.0;
const HEIGHT: f64 = 56.0;
/// Room that each output of a box has, so that their labels stand beside each other.
const OUTPUT: f64 = 16.0;
/// Room around the drawing.
const MARGIN: f64 = 48.0;
/// How much further apart than on the editor's canvas things stand: names are written inside.
const SCALE: f64 = 1.25;
/// Outputs for which a box grows.
const OUTPUTS_MAX: usize = 64;
/// About how wide a character of a label is.
const LABEL_CHAR: f64 = 6.0;
/// Characters of a name that fit into a box.
const NAME_CHARS: usize = 24;

const STYLE: &str = "
  :root { color-scheme: light dark; }
  .paper { fill: #ffffff; } .node { fill: #f4f5f7; stroke: #57606a; }
  .trigger { fill: #e6f4ea; stroke: #1a7f37; } .off { stroke-dasharray: 4 3; opacity: .6; }
  .note { fill: #fff8c5; stroke: #d4a72c; } .edge { fill: none; stroke: #57606a; stroke-width: 1.5; }
  .tip { fill: #57606a; } text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .kind, .label { font-size: 11px; fill: #57606a; }
  .label { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } .node { fill: #1c2128; stroke: #8b949e; }
    .trigger { fill: #12261e; stroke: #3fb950; } .note { fill: #2d2a17; stroke: #9e7b1b; }
    .edge { stroke: #8b949e; } .tip { fill: #8b949e; } text { fill: #e6edf3; }
    .kind, .label { fill: #9da7b3; } .label { stroke: #0d1117; }
  }";

/// A node as it is drawn.
struct Shape<'a> {
    name: &'a str,
    kind: &'a str,
    x: f64,
    y: f64,
    size: (f64, f64),
    class: &'static str,
    is_disabled: bool,
    text: Option<&'a str>,
    outputs: Vec<String>,
}

/// Draws a workflow, sound or not. What is no node and no connection is left out.
pub fn draw<'a>(document: &'a Document, catalogue: &Catalogue) -> String {
    let nodes = document.body.get("nodes").and_then(Value::as_array);
    let nodes = nodes.map_or(&[][..], Vec::as_slice);
    let connections = document.body.get("connections").unwrap_or(&Value::Null);
    let shaped = |node: &'a Value| {
        let outputs = node["name"].as_str().and_then(|name| connections[name]["main"].as_array());
        shape(node, catalogue, outputs.map_or(0, Vec::len))
    };
    let mut shapes: Vec<Shape<'_>> = nodes.iter().filter_map(shaped).collect();
    // Notes lie behind what they are about.
    shapes.sort_by_key(|shape| shape.class != "note");
    let least = |of: fn(&Shape<'_>) -> f64| shapes.iter().map(of).fold(f64::INFINITY, f64::min);
    let (left, top) = (least(|shape| shape.x) - MARGIN, least(|shape| shape.y) - MARGIN);
    for shape in &mut shapes {
        shape.x -= left;
        shape.y -= top;
    }
    let most = |of: fn(&Shape<'_>) -> f64| shapes.iter().map(of).fold(0.0, f64::max) + MARGIN;
    let (width, height) =
        (most(|shape| shape.x + shape.size.0), most(|shape| shape.y + shape.size.1));
    let title = document.body.get("name").and_then(Value::as_str).unwrap_or("workflow");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}\n</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
        escape(title)
    );
    for shape in shapes.iter().filter(|shape| shape.class == "note") {
        draw_shape(&mut svg, shape);
    }
    draw_edges(&mut svg, document, &shapes);
    for shape in shapes.iter().filter(|shape| shape.class != "note") {
        draw_shape(&mut svg, shape);
    }
    svg.push_str("</svg>\n");
    svg
}

fn shape<'a>(node: &'a Value, catalogue: &Catalogue, connected: usize) -> Option<Shape<'a>> {
    let kind = node.get("type")?.as_str()?;
    let known = catalogue.find(kind);
    let mut parameters = node["parameters"].as_object().cloned().unwrap_or_default();
    let version = node["typeVersion"].as_f64().unwrap_or(1.0);
    let mut outputs = known.map_or_else(Vec::new, |known| {
        known.fill(version, &mut parameters, &mut Findings::new());
        known.outputs(version, &parameters)
    });
    if node["onError"] == "continueErrorOutput" {
        outputs.push("error".to_owned());
    }
    let count = outputs.len().max(connected).min(OUTPUTS_MAX);
    let operation = node["parameters"]["operation"].as_str().filter(|text| !text.starts_with('='));
    let is_note = kind.ends_with(".stickyNote");
    let is_trigger = kind.ends_with("rigger") || kind.ends_with(".webhook");
    let given = node.get("parameters").and_then(Value::as_object);
    let number = |key: &str, default| {
        given.and_then(|given| given.get(key)).and_then(Value::as_f64).unwrap_or(default) * SCALE
    };
    let at = |axis: usize| node["position"][axis].as_f64().unwrap_or(0.0).clamp(-1e5, 1e5) * SCALE;
    Some(Shape {
        name: node.get("name")?.as_str()?,
        kind: operation.unwrap_or_else(|| kind.rsplit('.').next().unwrap_or(kind)),
        x: at(0),
        y: at(1),
        size: if is_note {
            (number("width", 240.0), number("height", 160.0))
        } else {
            (WIDTH, HEIGHT.max(OUTPUT * (count as f64 + 1.0)))
        },
        class: if is_note {
            "note"
        } else if is_trigger {
            "node trigger"
        } else {
            "node"
        },
        is_disabled: node["disabled"] == true,
        text: given.and_then(|given| given.get("content")?.as_str()).filter(|_| is_note),
        outputs,
    })
}

fn draw_shape(svg: &mut String, shape: &Shape<'_>) {
    let Shape { x, y, size: (width, height), class, .. } = *shape;
    let off = if shape.is_disabled { " off" } else { "" };
    let _ = writeln!(
        svg,
        "<g><title>{}</title><rect class=\"{class}{off}\" x=\"{x:.0}\" y=\"{y:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\"/>",
        escape(shape.name)
    );
    if let Some(text) = shape.text {
        let columns = ((width / 7.0) as usize).max(8);
        let rows = ((height / 18.0) as usize).max(1);
        for (row, line) in wrap(text, columns).into_iter().take(rows).enumerate() {
            let y = y + 20.0 + 18.0 * row as f64;
            let _ =
                writeln!(svg, "<text x=\"{:.0}\" y=\"{y:.0}\">{}</text>", x + 10.0, escape(&line));
        }
    } else {
        let middle = x + width / 2.0;
        let name = clip(shape.name);
        let _ = writeln!(
            svg,
            "<text text-anchor=\"middle\" x=\"{middle:.0}\" y=\"{:.0}\">{}</text>\
             <text class=\"kind\" text-anchor=\"middle\" x=\"{middle:.0}\" y=\"{:.0}\">{}</text>",
            y + height / 2.0 - 3.0,
            escape(&name),
            y + height / 2.0 + 15.0,
            escape(shape.kind)
        );
    }
    svg.push_str("</g>\n");
}

fn draw_edges(svg: &mut String, document: &Document, shapes: &[Shape<'_>]) {
    let empty = Object::new();
    let connections = document.body.get("connections").and_then(Value::as_object).unwrap_or(&empty);
    let find = |name: &str| shapes.iter().find(|shape| shape.name == name);
    for (source, by_type) in connections {
        let Some(from) = find(source) else { continue };
        let outputs = by_type["main"].as_array().map_or(&[][..], Vec::as_slice);
        let count = outputs.len().max(from.outputs.len()).max(1);
        let lead = lead(from);
        for (output, edges) in outputs.iter().enumerate() {
            let (x, y) = (from.x + from.size.0, port(from, output, count));
            let mut is_labelled = false;
            for edge in edges.as_array().into_iter().flatten() {
                let Some(to) = edge["node"].as_str().and_then(find) else { continue };
                let (to_x, to_y) = (to.x, to.y + to.size.1 / 2.0);
                // Beneath its label an edge is straight, as far as there is room.
                let room = if to_x > x { (to_x - x) * 0.6 } else { lead };
                let _ = write!(svg, "<path class=\"edge\" d=\"M{x:.0} {y:.0}");
                let begin = (x + lead.min(room), y);
                draw_edge(svg, begin, (to_x, to_y), from, to);
                is_labelled = true;
            }
            let label = from.outputs.get(output).filter(|label| is_labelled && *label != "main");
            if let Some(label) = label {
                let _ = writeln!(
                    svg,
                    "<text class=\"label\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
                    x + 6.0,
                    y - 3.0,
                    escape(&clip(label))
                );
            }
        }
    }
}

/// How far the labels of a node's outputs reach.
fn lead(shape: &Shape<'_>) -> f64 {
    let labels = shape.outputs.iter().filter(|label| *label != "main");
    let longest = labels.map(|label| clip(label).chars().count()).max();
    longest.map_or(0.0, |chars| 10.0 + LABEL_CHAR * chars as f64)
}

fn port(shape: &Shape<'_>, output: usize, count: usize) -> f64 {
    shape.y + shape.size.1 * (output as f64 + 1.0) / (count as f64 + 1.0)
}

fn draw_edge(
    svg: &mut String,
    from: (f64, f64),
    to: (f64, f64),
    source: &Shape<'_>,
    target: &Shape<'_>,
) {
    let ((x, y), (to_x, to_y)) = (from, to);
    let reach = ((to_x - x).abs() / 2.0).clamp(12.0, 120.0);
    let path = if to_x >= x + 10.0 {
        format!(
            " L{x:.0} {y:.0} C{:.0} {y:.0} {:.0} {to_y:.0} {to_x:.0} {to_y:.0}",
            x + reach,
            to_x - reach
        )
    } else {
        // A way back runs below both boxes.
        let low = (source.y + source.size.1).max(target.y + target.size.1) + 28.0;
        format!(
            " L{x:.0} {y:.0} C{:.0} {y:.0} {:.0} {low:.0} {x:.0} {low:.0} L{to_x:.0} {low:.0} \
             C{:.0} {low:.0} {:.0} {to_y:.0} {to_x:.0} {to_y:.0}",
            x + 40.0,
            x + 40.0,
            to_x - 40.0,
            to_x - 40.0
        )
    };
    let _ = writeln!(svg, "{path}\"/><path class=\"tip\" d=\"M{to_x:.0} {to_y:.0} l-8 -4 v8 z\"/>");
}

fn clip(text: &str) -> String {
    if text.chars().count() <= NAME_CHARS {
        return text.to_owned();
    }
    text.chars().take(NAME_CHARS - 1).chain(['…']).collect()
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + word.chars().count() + 1 > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::read;

    #[test]
    fn labels_of_many_outputs_stand_beside_each_other() {
        let rules: Vec<Value> = (0..9)
            .map(|n| serde_json::json!({ "renameOutput": true, "outputKey": format!("label {n}") }))
            .collect();
        let edges = vec![serde_json::json!([{ "node": "end", "type": "main", "index": 0 }]); 10];
        let text = serde_json::json!({
            "name": "wide", "connections": { "many": { "main": edges } },
            "nodes": [
                { "name": "many", "type": "n8n-nodes-base.switch", "typeVersion": 3.2, "position": [0, 0],
                  "onError": "continueErrorOutput", "parameters": { "rules": { "values": rules } } },
                { "name": "end", "type": "n8n-nodes-base.noOp", "typeVersion": 1, "position": [300, 0] },
            ],
        });
        let drawn = draw(&read(&text.to_string(), "a").unwrap()[0], &Catalogue::core());
        let labels: Vec<(f64, &str)> = drawn
            .lines()
            .filter_map(|line| {
                line.strip_prefix("<text class=\"label\" ")?.split_once("y=\"")?.1.split_once("\">")
            })
            .map(|(y, rest)| (y.parse().unwrap(), rest.split('<').next().unwrap()))
            .collect();
        assert_eq!(labels.len(), 10, "{drawn}");
        assert_eq!(labels.last().map(|(_, label)| *label), Some("error"));
        assert!(labels.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 12.0), "{labels:?}");
    }
}
