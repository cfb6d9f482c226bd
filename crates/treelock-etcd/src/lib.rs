//! Read/write locks on whole sub-trees between machines, on etcd.

mod key;
