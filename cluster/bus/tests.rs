//! The rules of voting, one by one, and what a hostile packet may not do.
