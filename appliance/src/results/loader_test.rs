//! Frames go from the spool into store and evidence exactly once, wherever the loader is killed.
