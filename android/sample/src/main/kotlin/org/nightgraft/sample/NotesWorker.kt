package org.nightgraft.sample

import android.content.Context
import androidx.work.WorkerParameters
import org.nightgraft.Progress
import org.nightgraft.work.PersonalizationWorker
import org.nightgraft.work.WorkNotice

/** Trains when the owner asks for it, and goes on when they leave the app. */
class NotesWorker(context: Context, parameters: WorkerParameters) : PersonalizationWorker(context, parameters) {
    private val notebook get() = (applicationContext as NotesApplication).notebook

    override suspend fun configuration() = notebook.configuration()

    override fun notice() = WorkNotice(
        icon = android.R.drawable.stat_notify_sync,
        title = "Learning your notes",
        channelName = "Learning",
        stop = "Stop",
        text = ::describe,
    )

    override fun onProgress(progress: Progress) {
        notebook.training.value = progress
    }
}
