import Foundation
import NightgraftTesting

@testable import Nightgraft

/// A process of the app: what it asks of the system counts as long as it lives. One task at a time uses it.
final class SimulatedApp: BackgroundScheduler, BackgroundClock, @unchecked Sendable {
    static let checkpointInterval = 20
    static let calendar = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()

    let phone: SimulatedPhone
    var isAlive = true
    /// Steps of the session, as far as this process knows.
    var steps = 0
    private(set) var lastEnding: BackgroundEnding?

    init(on phone: SimulatedPhone) {
        self.phone = phone
    }

    func background() -> BackgroundPersonalization {
        BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.example.night"), platform: FixedPlatform(),
            scheduler: self, clock: self, onEnd: { [self] in lastEnding = $0.ending }, open: open)
    }

    @Sendable
    private func open() async throws -> any GrantedWork {
        let length =
            phone.night == .files
            ? phone.chance.pick(seconds(20)...minutes(4)) : phone.chance.pick(seconds(1)...seconds(4))
        phone.time.pass(length, while: goesOn)
        if phone.isKeyWrong {
            throw NightgraftError.wrongKey(reason: "")
        }
        return SimulatedWork(app: self)
    }

    /// Whether nobody has stopped what runs in this task.
    func goesOn() -> Bool {
        isAlive && !Task.isCancelled
    }

    // MARK: The system

    func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool {
        true
    }

    func submit(_ request: BackgroundRequest) throws {
        if isAlive { phone.pending = request }
    }

    func cancel(_ identifier: String) {
        if isAlive { phone.pending = nil }
    }

    var now: Date {
        phone.time.date
    }

    var calendar: Calendar {
        Self.calendar
    }

    func countDown(_ delay: Duration, then action: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let number = phone.time.at(phone.time.now + Int(delay.inSeconds * 1000)) { [self] in
            if isAlive { action() }
        }
        return { [phone] in phone.time.cancel(number) }
    }
}

/// A grant that begins now.
final class SimulatedGrant: BackgroundGrant, @unchecked Sendable {
    private let phone: SimulatedPhone
    private let app: SimulatedApp
    private let began: Int
    private var changedAt: Int
    private var idleSince: Int
    private var phase = GrantPhase.opening
    private var handler: (@Sendable () -> Void)?
    private var isExpired = false
    /// The phase in which the system takes it back, besides after its time.
    private let aim: GrantPhase?

    private(set) var isOver = false
    /// How long the app held it.
    private(set) var length = 0
    private(set) var trained = 0
    private(set) var longestIdle = 0

    init(on phone: SimulatedPhone, to app: SimulatedApp) {
        self.phone = phone
        self.app = app
        began = phone.time.now
        changedAt = began
        idleSince = began
        aim = phone.chance.isTrue(in: 40) ? phone.chance.pick(GrantPhase.allCases) : nil
        aimAt(.opening)
    }

    func enter(_ new: GrantPhase) {
        guard new != phase, !isOver else { return }
        account()
        if new.isIdle, !phase.isIdle {
            idleSince = phone.time.now
        }
        phase = new
        aimAt(new)
    }

    /// The system wants its time back, and ends the app if that takes it five seconds.
    func expire() {
        guard !isOver, !isExpired else { return }
        isExpired = true
        phone.expirations[phase, default: 0] += 1
        phone.time.at(phone.time.now + seconds(5)) { [self] in
            if !isOver { phone.violations.append("a grant that was held for five seconds after its end") }
        }
        handler?()
    }

    func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        self.handler = handler
    }

    func complete(success: Bool) {
        guard app.isAlive else { return }
        if isOver {
            phone.violations.append("a grant that was completed twice")
        }
        if app.steps > phone.savedSteps {
            phone.violations.append("a grant that was completed with \(app.steps - phone.savedSteps) steps not saved")
        }
        end()
    }

    func end() {
        account()
        isOver = true
        length = phone.time.now - began
        if longestIdle > seconds(121) {
            phone.violations.append("a grant that was held for \(longestIdle) ms without training in \(phase)")
        }
    }

    private func account() {
        let now = phone.time.now
        if phase.isIdle {
            longestIdle = max(longestIdle, now - idleSince)
        } else if phase != .preparing {
            trained += now - changedAt
        }
        changedAt = now
    }

    private func aimAt(_ phase: GrantPhase) {
        guard phase == aim else { return }
        let longest: Int = phase == .saving ? 200 : seconds(3)
        phone.time.at(phone.time.now + phone.chance.pick(0...longest)) { [self] in
            if self.phase == aim { expire() }
        }
    }
}

/// A session in simulated time: four seconds a step.
struct SimulatedWork: GrantedWork {
    let app: SimulatedApp

    func runGranted(
        on platform: any Platform, rules: NightRules, onProgress: @escaping @Sendable (TrainingProgress) -> Void
    ) async throws -> SliceOutcome {
        let phone = app.phone
        app.steps = phone.savedSteps
        guard phone.totalSteps > 0 else { return .nothingToDo(.everythingLearned, text: "") }
        phone.grant?.enter(.preparing)
        onProgress(.during(.preparing))
        pass(seconds(3))
        while app.steps < phone.totalSteps {
            guard app.goesOn() else { return try save() }
            if let waiting = phone.waiting {
                phone.grant?.enter(.waiting)
                onProgress(.waiting(for: waiting))
                if app.goesOn() { phone.time.pass(until: phone.time.now + minutes(1)) }
                continue
            }
            phone.grant?.enter(.training)
            onProgress(.during(.training, step: app.steps))
            pass(seconds(4))
            if app.goesOn() { app.steps += 1 }
            if app.steps % SimulatedApp.checkpointInterval == 0 { phone.savedSteps = app.steps }
        }
        phone.grant?.enter(.judging)
        onProgress(.during(.judging))
        pass(seconds(40))
        guard app.goesOn() else { return try save() }
        (app.steps, phone.savedSteps, phone.totalSteps) = (0, 0, 0)
        return .nothingToDo(.everythingLearned, text: "")
    }

    func deviceChanged() {}

    private func pass(_ milliseconds: Int) {
        app.phone.time.pass(milliseconds, while: app.goesOn)
    }

    /// Within a quarter of a second, and not at all in a process that is dead.
    private func save() throws -> SliceOutcome {
        let phone = app.phone
        phone.grant?.enter(.saving)
        phone.time.pass(phone.chance.pick(50...250)) { app.isAlive }
        guard app.isAlive else { throw CancellationError() }
        phone.savedSteps = app.steps
        return .paused(.stopped)
    }
}
