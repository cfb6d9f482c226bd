//! placeholder
mod address;
mod address_error;
mod escape;
mod parse;
pub use crate::{
    address::{Address, EtcdAddress, Password},
    address_error::AddressError,
};
