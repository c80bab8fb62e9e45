// Package picture draws a sweep into one file: SVG, or HTML with tables. Nothing outside the file is needed to look at it.
//
// To know: Sweep is what is drawn, SVG and HTML draw it. Every text may be hostile: it is escaped here, and what no XML may hold is taken out.
// The colours can be told apart by colour-blind people (Okabe and Ito's palette for lines, viridis for values).
//
// Domain is where on its axis a value of a hyper-parameter lies, in a file and on a terminal.
//
// It is not: a judge. What is best, the caller says.
package picture
