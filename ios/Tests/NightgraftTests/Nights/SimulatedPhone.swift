import Foundation

@testable import Nightgraft

/// What is the matter in a night.
enum NightKind: String, CaseIterable {
    case quiet = "nothing"
    case charger = "the charger has a loose contact"
    case heat = "the phone gets hot"
    case disk = "the disk is full"
    case memory = "other apps need the memory"
    case owner = "its owner is up"
    case key = "the key is wrong"
    case files = "the files open slowly"
    case kill = "the app is killed"
}

/// What the app does in a grant.
enum GrantPhase: String, CaseIterable {
    case opening, preparing, waiting, training, judging, saving

    var isIdle: Bool {
        self == .opening || self == .waiting || self == .saving
    }
}

/// A phone with its system, which has one request at most, and what the app has on its disk. One task at a time uses it.
final class SimulatedPhone: @unchecked Sendable {
    let time = Timeline()
    var chance: Chance
    var night = NightKind.quiet

    // The device.
    var isCharging = true
    var isHot = false
    var isInUse = false
    var isDiskFull = false
    var isMemoryShort = false
    var isKeyWrong = false
    private var usedAt = Int.min / 2
    private var hotAt = Int.min / 2

    // The system.
    var pending: BackgroundRequest?
    private(set) var grant: SimulatedGrant?

    // The disk: steps of the session, and those that are in its checkpoint.
    var totalSteps = 0
    var savedSteps = 0

    /// What must not happen, and did.
    var violations: [String] = []
    var tallies: [NightKind: Tally] = [:]
    var expirations: [GrantPhase: Int] = [:]
    private var process: (app: SimulatedApp, background: BackgroundPersonalization)?

    init(seed: UInt64) {
        chance = Chance(seed: seed)
    }

    /// What a night waits for now, in the order of the library's own policy.
    var waiting: Waiting.Kind? {
        if !isCharging { return .notCharging }
        if isInUse { return .inUse }
        if time.now - usedAt < minutes(1) { return .justUsed }
        if isHot { return .tooWarm }
        if time.now - hotAt < minutes(5) { return .coolingDown }
        if isDiskFull { return .storageLow }
        if isMemoryShort { return .memoryLow }
        // The simulation began at noon.
        let hour = (time.now / hours(1) + 12) % 24
        return hour >= 22 || hour < 7 ? nil : .outsideWindow
    }

    /// From one noon to the next.
    func live(through night: NightKind) async {
        self.night = night
        tallies[night, default: Tally()].nights += 1
        let noon = time.now + hours(24)
        befall(night)
        time.pass(hours(6))
        openApp()
        while passUntilLaunch(before: noon) {
            await launch()
        }
        time.pass(noon - time.now)
        if let pending, waiting(at: pending.earliestBegin) == .outsideWindow {
            violations.append("a request for \(pending.earliestBegin)")
        }
    }

    /// The owner writes notes in the evening.
    private func openApp() {
        if totalSteps == 0 {
            totalSteps = chance.pick(100...900)
        }
        let process = running()
        try? process.background.submit()
    }

    private func running() -> (app: SimulatedApp, background: BackgroundPersonalization) {
        if let process, process.app.isAlive { return process }
        let app = SimulatedApp(on: self)
        let started = (app, app.background())
        process = started
        return started
    }

    /// Lets time pass until the system starts the task; false if that is not before noon.
    private func passUntilLaunch(before noon: Int) -> Bool {
        guard let pending else { return false }
        let earliest = max(time.milliseconds(at: pending.earliestBegin), time.now) + chance.pick(0...minutes(10))
        while time.now < noon {
            if time.now >= earliest, isCharging, !isInUse { return true }
            time.pass(until: time.now < earliest ? min(earliest, noon) : noon)
        }
        return false
    }

    private func launch() async {
        pending = nil
        let (app, background) = running()
        let grant = SimulatedGrant(on: self, to: app)
        self.grant = grant
        time.at(time.now + chance.pick(minutes(1)...minutes(20))) { grant.expire() }
        if night == .kill, chance.isTrue(in: 60) {
            time.at(time.now + chance.pick(seconds(1)...minutes(8))) { [self] in kill(app, in: grant) }
        }
        await background.run(in: grant)
        if !grant.isOver {
            violations.append("a grant that was not completed")
        }
        let needsTheApp = if app.isAlive, case .failed(.wrongKey) = app.lastEnding { true } else { false }
        if (pending == nil) != needsTheApp {
            violations.append(needsTheApp ? "a request that is left over" : "no request")
        }
        tallies[night, default: Tally()].add(grant)
        tallies[night, default: Tally()].failures += needsTheApp ? 1 : 0
        self.grant = nil
    }

    private func kill(_ app: SimulatedApp, in grant: SimulatedGrant) {
        guard !grant.isOver else { return }
        app.isAlive = false
        grant.end()
        let lost = app.steps - savedSteps
        tallies[night, default: Tally()].mostStepsLost = max(tallies[night]?.mostStepsLost ?? 0, lost)
        if lost > SimulatedApp.checkpointInterval {
            violations.append("\(lost) steps were lost")
        }
    }

    private func waiting(at date: Date) -> Waiting.Kind? {
        NightWindow.night.contains(date, calendar: SimulatedApp.calendar) ? nil : .outsideWindow
    }

    /// What happens between ten in the evening and seven, and is over by noon.
    private func befall(_ night: NightKind) {
        let evening = time.now + hours(9)
        let all = evening...(time.now + hours(21))
        switch night {
        case .quiet, .key, .files, .kill:
            break
        case .charger:
            again(from: evening, every: minutes(2)...minutes(60), for: seconds(5)...minutes(30)) { [self] begins in
                isCharging = !begins
                // With a charger asked for, the system mostly takes the grant back.
                if begins, chance.isTrue(in: 50) { grant?.expire() }
            }
        case .heat:
            again(from: evening, every: minutes(5)...minutes(60), for: minutes(2)...minutes(25)) { [self] begins in
                isHot = begins
                hotAt = time.now
            }
        case .memory:
            again(from: evening, every: minutes(2)...minutes(30), for: seconds(20)...minutes(40)) { [self] begins in
                isMemoryShort = begins
            }
        case .owner:
            again(from: evening, every: minutes(5)...minutes(60), for: seconds(20)...minutes(20)) { [self] begins in
                isInUse = begins
                usedAt = time.now
            }
        case .disk:
            time.at(all.lowerBound) { [self] in isDiskFull = true }
            time.at(all.upperBound) { [self] in isDiskFull = false }
        }
        if night == .key {
            time.at(all.lowerBound) { [self] in isKeyWrong = true }
            time.at(all.upperBound) { [self] in isKeyWrong = false }
        }
    }

    /// Something that begins and ends again and again until the morning.
    private func again(
        from evening: Int, every pause: ClosedRange<Int>, for length: ClosedRange<Int>,
        _ change: @escaping (_ begins: Bool) -> Void
    ) {
        var at = evening
        while true {
            at += chance.pick(pause)
            guard at < evening + hours(10) else { return }
            time.at(at) { change(true) }
            at += chance.pick(length)
            time.at(at) { change(false) }
        }
    }
}

/// What became of the grants of some nights.
struct Tally {
    var nights = 0
    var grants = 0
    var awake = 0
    var trained = 0
    var longestIdle = 0
    var mostStepsLost = 0
    /// Grants that ended with an error that the app has to mend.
    var failures = 0

    mutating func add(_ grant: SimulatedGrant) {
        grants += 1
        awake += grant.length
        trained += grant.trained
        longestIdle = max(longestIdle, grant.longestIdle)
    }
}

func seconds(_ count: Int) -> Int { count * 1000 }
func minutes(_ count: Int) -> Int { count * 60_000 }
func hours(_ count: Int) -> Int { count * 3_600_000 }
