//! A store made anew from the evidence is the store that was.
