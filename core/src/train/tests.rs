//! Training runs: resumed against straight, and what stops them.
