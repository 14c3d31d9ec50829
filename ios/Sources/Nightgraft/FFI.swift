internal import NightgraftGenerated

/// The generated types that the library wraps, under names of their own: most are called as the public ones are.
enum FFI {
    typealias Answer = NightgraftGenerated.Answer
    typealias BytesListener = NightgraftGenerated.BytesListener
    typealias ChatOptions = NightgraftGenerated.ChatOptions
    typealias Damage = NightgraftGenerated.Damage
    typealias DeleteReport = NightgraftGenerated.DeleteReport
    typealias DestroyReport = NightgraftGenerated.DestroyReport
    typealias DeviceState = NightgraftGenerated.DeviceState
    typealias Estimate = NightgraftGenerated.Estimate
    typealias Example = NightgraftGenerated.Example
    typealias Failure = NightgraftGenerated.NightgraftError
    typealias ForgetReport = NightgraftGenerated.ForgetReport
    typealias GateSettings = NightgraftGenerated.GateSettings
    typealias Generator = NightgraftGenerated.Generator
    typealias Graft = NightgraftGenerated.Graft
    typealias GraftFormat = NightgraftGenerated.GraftFormat
    typealias GraftStatus = NightgraftGenerated.GraftStatus
    typealias ImportReport = NightgraftGenerated.ImportReport
    typealias ListenerError = NightgraftGenerated.ListenerError
    typealias LogLevel = NightgraftGenerated.LogLevel
    typealias LogSink = NightgraftGenerated.LogSink
    typealias MemoryPlan = NightgraftGenerated.MemoryPlan
    typealias Message = NightgraftGenerated.Message
    typealias Model = NightgraftGenerated.BaseModel
    typealias ModelInfo = NightgraftGenerated.ModelInfo
    typealias NightEnd = NightgraftGenerated.NightEnd
    typealias NightRecord = NightgraftGenerated.NightRecord
    typealias NightRules = NightgraftGenerated.NightRules
    typealias NightWait = NightgraftGenerated.NightWait
    typealias NothingToDoReason = NightgraftGenerated.NothingToDoReason
    typealias PauseReason = NightgraftGenerated.PauseReason
    typealias Phase = NightgraftGenerated.Phase
    typealias Planner = NightgraftGenerated.Planner
    typealias Platform = NightgraftGenerated.Platform
    typealias PlatformError = NightgraftGenerated.PlatformError
    typealias Progress = NightgraftGenerated.Progress
    typealias ProgressListener = NightgraftGenerated.ProgressListener
    typealias PublishedModel = NightgraftGenerated.PublishedModel
    typealias Refusal = NightgraftGenerated.Refusal
    typealias RefusalKind = NightgraftGenerated.RefusalKind
    typealias Session = NightgraftGenerated.PersonalizationSession
    typealias SessionReport = NightgraftGenerated.SessionReport
    typealias SessionSettings = NightgraftGenerated.SessionSettings
    typealias SliceOutcome = NightgraftGenerated.SliceOutcome
    typealias Store = NightgraftGenerated.AdapterStore
    typealias StoreChanges = NightgraftGenerated.StoreChanges
    typealias StoredExample = NightgraftGenerated.StoredExample
    typealias StoreSettings = NightgraftGenerated.StoreSettings
    typealias TextListener = NightgraftGenerated.TextListener
    typealias Thermal = NightgraftGenerated.Thermal
    typealias TimePlan = NightgraftGenerated.TimePlan
    typealias Token = NightgraftGenerated.Token
    typealias Verdict = NightgraftGenerated.Verdict
    typealias Waiting = NightgraftGenerated.Waiting
    typealias WaitKind = NightgraftGenerated.WaitKind
}

/// Installs no handler of signals, for apps that allow none but their own. To be called before a model is opened; afterwards
/// it changes nothing.
///
/// The handler turns the signal of a mapped model that is cut short (`SIGBUS` or `SIGSEGV`) into
/// ``NightgraftError/modelChanged(reason:)``, and passes every other one on to the handler that was there before, such as a
/// crash reporter's. Without it the process ends if a model is cut short in the very moment in which it is read.
public func leaveSignalsAlone() {
    NightgraftGenerated.leaveSignalsAlone()
}

/// The Rust library's version, such as `0.1.0`.
public var libraryVersion: String {
    NightgraftGenerated.version()
}
