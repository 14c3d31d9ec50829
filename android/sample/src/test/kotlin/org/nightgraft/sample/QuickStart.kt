package org.nightgraft.sample

import java.io.File
import kotlin.time.Duration.Companion.minutes
import org.nightgraft.AdapterStore
import org.nightgraft.BaseModel
import org.nightgraft.ChatOptions
import org.nightgraft.Example
import org.nightgraft.Generator
import org.nightgraft.Message
import org.nightgraft.PersonalizationSession
import org.nightgraft.SessionSettings
import org.nightgraft.StoreSettings

suspend fun firstPersonalizedAnswer(
    model: File, folder: File, key: ByteArray, notes: List<Pair<String, String>>, ask: String,
): String =
    BaseModel.open(model.path).use { base ->
        AdapterStore.open(folder.path, StoreSettings(key = key)).use { store ->
            store.add(notes.map { (question, answer) -> Example.answer(question, answer) })
            val settings = SessionSettings(epochs = 4)
            PersonalizationSession.open(base, store, settings).use { session ->
                session.slice(maxTime = 10.minutes).collect { println("${it.phase}: ${it.step} of ${it.totalSteps}") }
                session.report?.let { println(it.verdict.text) }
            }
            Generator.open(base).use { generator ->
                generator.useCurrent(store) // the graft that passed the gate, or the base itself
                generator.answer(listOf(Message.user(ask)), ChatOptions(maxTokens = 64)).text
            }
        }
    }
