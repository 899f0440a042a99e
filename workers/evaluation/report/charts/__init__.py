"""Charts as SVG that goes into the page and takes its colours and font."""
