#if canImport(SwiftUI) && os(iOS)
import Nightgraft
import SwiftUI
import os

#if targetEnvironment(simulator)
import NightgraftTesting
#endif

/// One screen: notes in, train tonight, ask before and after.
@main
struct SampleApp: App {
    @UIApplicationDelegateAdaptor private var delegate: AppDelegate

    var body: some Scene {
        WindowGroup {
            NotebookView(notebook: delegate.notebook, trainTonight: delegate.trainTonight)
        }
    }
}

/// Registers the night's work while the app launches, which is when the system wants to hear of it.
@MainActor
final class AppDelegate: NSObject, UIApplicationDelegate {
    let notebook = Notebook(
        modelURL: Bundle.main.url(forResource: "model", withExtension: "gguf") ?? URL(fileURLWithPath: "/model.gguf"),
        folder: URL.applicationSupportDirectory.appending(path: "Notebook"),
        key: { try KeychainKey().loadOrCreate() })
    private var background: BackgroundPersonalization?
    #if targetEnvironment(simulator)
    // The Simulator starts no background tasks and has no battery: nights begin with the button, on a made-up phone.
    private let scheduler: OnDemandScheduler? = OnDemandScheduler()
    #else
    private let scheduler: (any BackgroundScheduler)? = nil
    #endif

    func application(
        _ application: UIApplication,
        didFinishLaunchingWithOptions launchOptions: [UIApplication.LaunchOptionsKey: Any]? = nil
    ) -> Bool {
        #if targetEnvironment(simulator)
        let platform = FixedPlatform()
        #else
        let platform = ApplePlatform()
        #endif
        let notebook = notebook
        let background = BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.nightgraft.sample.night"), platform: platform,
            scheduler: scheduler,
            onEnd: { report in Logger().notice("a night: \(String(describing: report), privacy: .public)") }
        ) {
            // The same store as the screen's: one process has it open once.
            try await notebook.open().session
        }
        background.register()
        self.background = background
        return true
    }

    /// Returns a sentence for the user.
    func trainTonight() -> String {
        do {
            try background?.submit()
            #if targetEnvironment(simulator)
            scheduler?.grant()
            return "Now: this is the Simulator."
            #else
            return "Tonight, on the charger."
            #endif
        } catch {
            return "Background work is switched off for this app."
        }
    }
}
#endif
