package org.nightgraft.sample

import org.nightgraft.android.NightConfiguration
import org.nightgraft.android.PersonalizationJobService

/** Trains at night. */
class NightService : PersonalizationJobService() {
    override suspend fun configuration(): NightConfiguration? {
        val notebook = (application as NotesApplication).notebook
        if (!notebook.model.exists()) return null
        val open = notebook.open()
        return NightConfiguration(open.model, open.store, Notebook.SETTINGS, closeAfterwards = false)
    }
}
