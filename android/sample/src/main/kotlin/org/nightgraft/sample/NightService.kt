package org.nightgraft.sample

import org.nightgraft.android.PersonalizationJobService

/** Trains at night. */
class NightService : PersonalizationJobService() {
    override suspend fun configuration() = (application as NotesApplication).notebook.configuration()
}
