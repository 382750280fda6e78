#[cfg(test)]
mod blackbox;
