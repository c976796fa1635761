//! Attacks on the pages and the API of the running appliance, over HTTPS, as whoever would try them. What is attacked is
//! the appliance's own list of its routes, so that a route that is added is attacked too.

mod csrf;
mod forgery;
mod headers;
mod malformed;
mod markup;
mod others;
mod sign_in;
mod sql;
mod store;
mod tables;
mod world;
