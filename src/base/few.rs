//! Lists that nearly always have one member.

/// Adds a member; the first gets no room beside it, where a list would make room for four.
pub fn push_few<T>(list: &mut Vec<T>, one: T) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.push(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_takes_the_room_of_one() {
        let mut list = Vec::new();
        push_few(&mut list, 1_u64);
        assert_eq!(list.capacity(), 1);
        push_few(&mut list, 2);
        assert_eq!(list, [1, 2]);
    }
}
