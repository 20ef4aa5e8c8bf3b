//! HTML pages, each complete in itself.

/// The scripts and styles of every page.
const SCRIPTS: [&str; 10] = [
    include_str!("../../page/uplot/uPlot.iife.min.js"),
    include_str!("../../page/dom.js"),
    include_str!("../../page/charts.js"),
    include_str!("../../page/timeline.js"),
    include_str!("../../page/plan.js"),
    include_str!("../../page/sweep.js"),
    include_str!("../../page/validate.js"),
    include_str!("../../page/capacity.js"),
    include_str!("../../page/form.js"),
    include_str!("../../page/main.js"),
];
const STYLES: [&str; 2] = [
    include_str!("../../page/uplot/uPlot.min.css"),
    include_str!("../../page/style.css"),
];

/// A page around `body`, complete in itself.
pub(crate) fn shell(title: &str, body: &str) -> String {
    let scripts = SCRIPTS.map(|script| format!("<script>{script}</script>\n"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>{}</style>\n</head>\n<body>\n{body}\n{}</body>\n</html>\n",
        STYLES.join("\n"),
        scripts.concat()
    )
}
