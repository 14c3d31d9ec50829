#if canImport(SwiftUI) && os(iOS)
import Nightgraft
import SwiftUI

/// The sample's one screen.
struct NotebookView: View {
    @Bindable var notebook: Notebook
    let trainTonight: @MainActor () -> String
    @State private var tonight = ""

    var body: some View {
        NavigationStack {
            Form {
                newNote
                storedNotes
                training
                asking
            }
            .navigationTitle("Notebook")
            .task { await notebook.appear() }
        }
    }

    private var isBusy: Bool {
        notebook.activity != .idle
    }

    private var newNote: some View {
        Section("New note") {
            TextField("Question", text: $notebook.question)
            TextField("Answer", text: $notebook.answer)
            Button("Add") { Task { await notebook.addNote() } }
                .disabled(isBusy)
        }
    }

    private var storedNotes: some View {
        Section("Notes") {
            ForEach(notebook.notes) { note in
                Text(Notebook.line(for: note)).font(.caption).lineLimit(2)
            }
            .onDelete { places in
                let ids = places.map { notebook.notes[$0].id }
                Task { await notebook.delete(ids) }
            }
        }
    }

    private var training: some View {
        Section("Learning") {
            Button("Train tonight") { tonight = trainTonight() }
            Text(tonight).font(.footnote)
            if case .training(let share) = notebook.activity {
                ProgressView(value: share)
                Button("Stop", role: .cancel) { notebook.stop() }
            } else {
                Button("Train now") { Task { await notebook.train() } }
                    .disabled(isBusy)
            }
            Text(notebook.status).font(.footnote)
        }
    }

    private var asking: some View {
        Section("Ask") {
            TextField("Question", text: $notebook.test)
            Button("Ask before and after") { Task { await notebook.ask() } }
                .disabled(isBusy)
            LabeledContent("Before", value: notebook.before)
            LabeledContent("After", value: notebook.after)
        }
    }
}
#endif
