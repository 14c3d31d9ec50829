import Foundation

/// Simulated time: what happens, one after another. One task at a time uses it.
final class Timeline {
    private struct Event {
        let at: Int
        let number: Int
        let action: () -> Void
    }

    /// Milliseconds since the simulation began, at noon.
    private(set) var now = 0
    /// The earliest is the last.
    private var events: [Event] = []
    private var numbers = 0

    var date: Date {
        date(at: now)
    }

    func date(at milliseconds: Int) -> Date {
        // Noon in Greenwich on 23 November 2026.
        Date(timeIntervalSince1970: 1_795_435_200 + Double(milliseconds) / 1000)
    }

    func milliseconds(at date: Date) -> Int {
        Int(((date.timeIntervalSince1970 - 1_795_435_200) * 1000).rounded())
    }

    /// Has `action` called when it is that late.
    @discardableResult
    func at(_ milliseconds: Int, _ action: @escaping () -> Void) -> Int {
        numbers += 1
        let event = Event(at: max(milliseconds, now), number: numbers, action: action)
        let place = events.firstIndex { ($0.at, $0.number) < (event.at, event.number) } ?? events.endIndex
        events.insert(event, at: place)
        return event.number
    }

    func cancel(_ number: Int) {
        events.removeAll { $0.number == number }
    }

    /// Lets time pass up to the next event, which happens, or until `end` if there is none before.
    func pass(until end: Int) {
        guard let event = events.last, event.at <= end else {
            now = max(now, end)
            return
        }
        events.removeLast()
        now = event.at
        event.action()
    }

    /// Lets time pass, with all that happens in it, as long as `condition` holds.
    func pass(_ milliseconds: Int, while condition: () -> Bool = { true }) {
        let end = now + milliseconds
        while now < end, condition() {
            pass(until: end)
        }
    }
}

/// SplitMix64: the same numbers everywhere, on every version of Swift.
struct Chance {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// A number of the range.
    mutating func pick(_ range: ClosedRange<Int>) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return range.lowerBound + Int(mixed % UInt64(range.count))
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[pick(0...elements.count - 1)]
    }

    /// True in so many of a hundred cases.
    mutating func isTrue(in percent: Int) -> Bool {
        pick(1...100) <= percent
    }
}
