//! What the protocol crate promises, one file per topic.

#[cfg(test)]
mod bind;
mod charge;
#[cfg(test)]
mod door;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod header;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod money;
#[cfg(test)]
mod network;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod v1;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wire;
