package org.nightgraft.sample

import android.app.Application
import java.io.File
import org.nightgraft.android.KeystoreKey
import org.nightgraft.android.PersonalizationJobService

/** Holds what the screen and the night's job share: a store is open once in a process. */
class NotesApplication : Application() {
    /** The notes, the model and what it learned. */
    val notebook by lazy {
        Notebook(
            model = File(noBackupFilesDir, "model.gguf"),
            store = File(noBackupFilesDir, "store"),
            key = KeystoreKey(File(noBackupFilesDir, "store.key")),
        )
    }

    override fun onCreate() {
        super.onCreate()
        PersonalizationJobService.schedule(this, NightService::class.java)
    }
}
